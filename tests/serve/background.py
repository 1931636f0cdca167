"""Small servers, each in a thread of its own."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Self


class QuietHandler(BaseHTTPRequestHandler):
    """Writes no line a request."""

    def log_message(self, *_: object) -> None:
        pass


class BackgroundServer:
    """Serves until the block is left."""

    def __init__(
        self,
        handler: type[BaseRequestHandler],
        kind: type[ThreadingHTTPServer] | type[ThreadingTCPServer] = ThreadingHTTPServer,
    ) -> None:
        self._server = kind(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
