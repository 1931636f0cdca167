"""Who is told: a server that takes HTTP, and one that takes HL7 version 2 by MLLP."""

from __future__ import annotations

import socketserver
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, NamedTuple, Self


class Asked(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes


class _Server:
    """Serves in a thread until the block is left."""

    _server: Any

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class HttpServer(_Server):
    """Answers what is posted with the statuses given, then with 200."""

    def __init__(self, *statuses: int) -> None:
        self.asked: list[Asked] = []
        left = list(statuses)
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                asked.append(Asked(self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(left.pop(0) if left else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)


class MllpServer(_Server):
    """Acknowledges messages with the codes given, then with AA; an empty code ends the connection."""

    def __init__(self, *codes: str) -> None:
        self.messages: list[str] = []
        left, messages = list(codes), self.messages

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                message = b""
                while not message.endswith(b"\x1c\r"):
                    message += self.rfile.read(1)
                text = message.strip(b"\x0b\x1c\r").decode()
                messages.append(text)
                code = left.pop(0) if left else "AA"
                if code:
                    control = text.split("\r")[0].split("|")[9]
                    self.wfile.write(f"\x0bMSH|^~\\&|RIS\rMSA|{code}|{control}\r\x1c\r".encode())

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
