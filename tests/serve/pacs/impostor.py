"""Servers on loopback that speak HTTP and are no sound PACS."""

from __future__ import annotations

import io
import json
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from pydicom import Dataset, dcmread
from pydicom.tag import Tag

from msde.serve.pacs.multipart import Parts
from msde.serve.pacs.settings import StowSettings

Behaviour = Callable[["Request"], None]


class Request(BaseHTTPRequestHandler):
    """One request, answered by the behaviour of its server."""

    protocol_version = "HTTP/1.1"
    ended: threading.Event
    body: bytes
    behave: Behaviour

    def do_GET(self) -> None:
        type(self).behave(self)

    def do_POST(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        type(self).behave(self)

    def answer(self, status: int, body: bytes = b"", kind: str = "application/dicom+json", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def impostor(behave: Behaviour, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Run such a server; give its root."""
    ended = threading.Event()
    handler = type("Handler", (Request,), {"behave": staticmethod(behave), "ended": ended})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}/dicom-web"
    finally:
        ended.set()
        server.shutdown()
        thread.join()
        server.server_close()


def forgetful(request: Request) -> None:
    """Say that everything is stored, and store nothing."""
    if request.command == "POST":
        request.answer(200, b'{"00081199": {"vr": "SQ", "Value": []}}')
    elif request.path.startswith("/dicom-web/studies?"):
        request.answer(200, b"[]")
    else:
        request.answer(404)


def silent(request: Request) -> None:
    """Take the request and never answer."""
    request.ended.wait()


def dripping(request: Request) -> None:
    """Answer, a byte at a time."""
    request.send_response(200)
    request.send_header("Content-Type", "application/dicom+json")
    request.send_header("Content-Length", "1000000")
    request.end_headers()
    while not request.ended.wait(0.02):
        try:
            request.wfile.write(b" ")
        except OSError:
            return


def endless(request: Request) -> None:
    """Answer without an end."""
    request.send_response(200)
    request.send_header("Content-Type", "application/dicom+json")
    request.end_headers()
    while not request.ended.is_set():
        try:
            request.wfile.write(b" " * 100_000)
        except OSError:
            return


def elsewhere(request: Request) -> None:
    """Send the client away."""
    request.answer(302, Location="/other")


def page(request: Request) -> None:
    """Answer everything with a web page."""
    request.answer(200, b"<html></html>", "text/html")


def repeating(request: Request) -> None:
    """Give the same page of matches whatever the offset."""
    request.answer(
        200, b'[{"0020000D": {"vr": "UI", "Value": ["1.2.3"]}, "0020000E": {"vr": "UI", "Value": ["1.2.4"]}}]'
    )


def forgetting_offsets(n: int, most: int = 10**6) -> Behaviour:
    """Have so many series, and give the first of them whatever the offset, at most so many at once."""

    def behave(request: Request) -> None:
        limit = int(parse_qs(urlsplit(request.path).query)["limit"][0])
        found = [
            {"0020000D": {"vr": "UI", "Value": ["1.2.3"]}, "0020000E": {"vr": "UI", "Value": [f"1.2.{number + 10}"]}}
            for number in range(min(n, limit, most))
        ]
        request.answer(200, json.dumps(found).encode())

    return behave


def having(
    status: int,
    reason: int | None,
    alter: Callable[[Dataset], None] | None = None,
    kept: dict[str, bytes] | None = None,
) -> Behaviour:
    """Keep what is stored, altered or not, and say of all of it, from the first time on, that it cannot be stored."""
    kept = {} if kept is None else kept

    def behave(request: Request) -> None:
        if request.command == "POST":
            parts = Parts(request.headers["Content-Type"], StowSettings())
            failed = []
            for content in parts.feed(request.body):
                dataset = dcmread(io.BytesIO(content))
                if alter is not None:
                    alter(dataset)
                file = io.BytesIO()
                dataset.save_as(file, enforce_file_format=True)
                kept[dataset.SOPInstanceUID] = file.getvalue()
                item = {"00081150": dataset.SOPClassUID, "00081155": dataset.SOPInstanceUID, "00081197": reason}
                failed.append({tag: {"vr": "UI", "Value": [value]} for tag, value in item.items()})
                failed[-1]["00081197"]["vr"] = "US"
            told = {} if reason is None else {"00081198": {"vr": "SQ", "Value": failed}}
            request.answer(status, json.dumps(told).encode())
            return
        instance = kept.get(request.path.rpartition("/")[2])
        if instance is None:
            request.answer(404)
            return
        body = b"--xyz\r\nContent-Type: application/dicom\r\n\r\n" + instance + b"\r\n--xyz--\r\n"
        request.answer(200, body, 'multipart/related; type="application/dicom"; boundary=xyz')

    return behave


def partly(request: Request) -> None:
    """Give two series, and fail when asked for what is in the first."""
    found = [
        {tag: {"vr": "UI", "Value": [value]} for tag, value in zip(("0020000D", "0020000E"), uids, strict=True)}
        | {"00201209": {"vr": "IS", "Value": [1]}}
        for uids in (("1.2.4", "1.2.5"), ("1.2.4", "1.2.6"))
    ]
    if "1.2.5" in request.path:
        request.answer(500)
    else:
        first = request.path.startswith("/dicom-web/series?") and "offset=0" in request.path
        request.answer(200, json.dumps(found if first else []).encode())


def giving(contents: Sequence[bytes], cut: Callable[[bytes], bytes] = lambda body: body) -> Behaviour:
    """Have instances of one series, and give each out in a body that is cut, until `cut` lets it whole."""
    found = {dataset.SOPInstanceUID: dataset for dataset in (dcmread(io.BytesIO(content)) for content in contents)}
    files = dict(zip(found, contents, strict=True))
    keywords = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")

    def behave(request: Request) -> None:
        uid = request.path.rpartition("/")[2]
        if uid in files:
            head = b"--xyz\r\nContent-Type: application/dicom\r\n\r\n"
            body = cut(head + files[uid] + b"\r\n--xyz--\r\n")
            request.answer(200, body, 'multipart/related; type="application/dicom"; boundary=xyz')
            return
        listed = []
        if "offset=0" in request.path or "/studies?" in request.path:
            datasets = list(found.values()) if "/instances" in request.path else [next(iter(found.values()))]
            for dataset in datasets:
                tags = {f"{Tag(keyword):08X}": [str(dataset[keyword].value)] for keyword in keywords}
                tags |= {"00201209": [str(len(files))], "00080070": [str(dataset.get("Manufacturer", ""))]}
                listed.append({tag: {"vr": "UI", "Value": value} for tag, value in tags.items()})
        request.answer(200, json.dumps(listed).encode())

    return behave
