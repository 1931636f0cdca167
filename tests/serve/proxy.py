"""A reverse proxy that serves what another server has below a prefix of the path."""

from __future__ import annotations

from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPResponse

from tests.serve.background import BackgroundServer, QuietHandler

_OF_CONNECTION = {"connection", "transfer-encoding", "keep-alive"}


class Proxy(BackgroundServer):
    """Passes on what is asked below `prefix`, with or without it, and has nothing elsewhere."""

    def __init__(self, port: int, prefix: str, *, strips: bool) -> None:
        self.missed: list[str] = []
        missed = self.missed

        class Handler(QuietHandler):
            protocol_version = "HTTP/1.1"

            def pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.path != prefix and not self.path.startswith(f"{prefix}/"):
                    missed.append(self.path)
                    self.send_error(404)
                    return
                path = self.path.removeprefix(prefix) or "/" if strips and self.path != prefix else self.path
                with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
                    connection.request(self.command, path, body or None, dict(self.headers.items()))
                    self.answer(connection.getresponse())

            def answer(self, answer: HTTPResponse) -> None:
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in (*_OF_CONNECTION, "date", "server"):
                        self.send_header(name, value)
                if answer.chunked:  # it lasts until the connection is closed
                    self.send_header("Connection", "close")
                self.end_headers()
                with suppress(ConnectionError):  # who asked has gone
                    while piece := answer.read1():
                        self.wfile.write(piece)

            do_GET = do_POST = do_PUT = do_DELETE = pass_on

        super().__init__(Handler)
        self.origin = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.origin}{prefix}/"
