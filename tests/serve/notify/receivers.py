"""Who is told: a server that takes HTTP, and one that takes HL7 version 2 by MLLP."""

from __future__ import annotations

from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import NamedTuple

from tests.serve.background import BackgroundServer, QuietHandler


class Asked(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes


class HttpServer(BackgroundServer):
    """Answers what is posted with the statuses given, then with 200."""

    def __init__(self, *statuses: int) -> None:
        self.asked: list[Asked] = []
        left = list(statuses)
        asked = self.asked

        class Handler(QuietHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                asked.append(Asked(self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(left.pop(0) if left else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

        super().__init__(Handler)


class MllpServer(BackgroundServer):
    """Acknowledges messages with the codes given, then with AA; an empty code ends the connection."""

    def __init__(self, *codes: str) -> None:
        self.messages: list[str] = []
        left, messages = list(codes), self.messages

        class Handler(StreamRequestHandler):
            def handle(self) -> None:
                message = b""
                while not message.endswith(b"\x1c\r"):
                    if not (byte := self.rfile.read(1)):  # it was only looked whether somebody is here
                        return
                    message += byte
                text = message.strip(b"\x0b\x1c\r").decode()
                messages.append(text)
                code = left.pop(0) if left else "AA"
                if code:
                    control = text.split("\r")[0].split("|")[9]
                    self.wfile.write(f"\x0bMSH|^~\\&|RIS\rMSA|{code}|{control}\r\x1c\r".encode())

        super().__init__(Handler, ThreadingTCPServer)
