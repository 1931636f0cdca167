"""A real web server on this machine that serves a folder, with ranges, and can misbehave."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Server(ThreadingHTTPServer):
    """Serves the files of a folder.

    Attributes
    ----------
    asked : list of str or None
        The Range header of each request.
    cuts : list of int
        Bytes after which the next answers break off.
    ranges : bool
        Whether ranges are answered.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.ranges, self.sized = folder, True, True
        self.asked: list[str | None] = []
        self.cuts: list[int] = []
        self.elsewhere: str | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.headers["Range"])
        path = self.server.folder / self.path.lstrip("/")
        if self.server.elsewhere:
            self.send_response(302)
            self.send_header("Location", self.server.elsewhere)
            self.end_headers()
            return
        if not path.is_file():
            self.send_error(404)
            return
        raw = path.read_bytes()
        start = int((self.headers["Range"] or "bytes=0-")[6:-1]) if self.server.ranges else 0
        if start >= len(raw):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(raw) - 1}/{len(raw)}")
        if self.server.sized:
            self.send_header("Content-Length", str(len(raw) - start))
        self.end_headers()
        end = start + self.server.cuts.pop(0) if self.server.cuts else len(raw)
        self.wfile.write(raw[start:end])

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    with Server(folder) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
