"""The service under attack: silent connections, streams that nobody reads, pictures and volumes that unpack to much.

Run: python benchmarks/attack.py MODEL.msde [connections] [streams] [pictures] [volumes] [--seconds N]
Attackers, service and the client that is to be answered share the processors and this machine's loopback.
"""

from __future__ import annotations

import gzip
import json
import socket
import struct
import tempfile
import threading
import time
import zlib
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256
from http.client import HTTPException
from io import BytesIO
from pathlib import Path
from typing import TextIO

import numpy as np
from PIL import Image
from serve import Server

HALF_OPEN = 1100
USERS, STREAMS, TOLD = 4, 20, 50
PICTURES = 44
SIDE = 9990
VOLUMES, SLICES, SLICE_SIDE = 5, 300, 1024
CALM = 30  # seconds after which memory is looked at


class Watch:
    """What a client is answered, and how much memory the service takes, until it is told to end."""

    def __init__(self, server: Server) -> None:
        self.took: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.most = 0.0
        self._server, self._over = server, threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._ask, self._weigh)]

    def __enter__(self) -> Watch:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def words(self) -> str:
        return f"/readyz {len(self.took)} times, longest {max(self.took):.2f} s, answers {dict(self.statuses)}"

    def _ask(self) -> None:
        while not self._over.wait(0.1):
            start = time.perf_counter()
            try:
                status = self._server.ask("GET", "/readyz")[0]
            except (OSError, HTTPException):
                status = 0
            self.took.append(time.perf_counter() - start)
            self.statuses[status] += 1

    def _weigh(self) -> None:
        while not self._over.wait(0.02):
            self.most = max(self.most, self._server.resident())


def connections(server: Server, seconds: float) -> None:
    """Hold 1,100 connections open that send half a request, or nothing, and open anew what is closed."""
    for source, data in (("127.0.0.1", b""), ("127.0.0.1", b"GET /api/im"), ("127.0.0.2", b"GET /api/im")):
        log = server.data.parent / "serve.log"
        before, opened = log.stat().st_size, 0
        with Watch(server) as watch, ExitStack() as stack:
            until = time.monotonic() + seconds
            held: list[socket.socket] = []
            while time.monotonic() < until:
                if len(held) == HALF_OPEN:
                    time.sleep(0.2)
                    held = [one for one in held if _is_open(one)]
                    continue
                with suppress(OSError):
                    made = socket.create_connection(("127.0.0.1", server.port), 5, (source, 0))
                    held.append(stack.enter_context(made))
                    made.sendall(data)
                    made.setblocking(False)
                    opened += 1
        print(
            f"{HALF_OPEN} connections of {source} that send {data!r}, {seconds:.0f} s, opened {opened}:"
            f" {watch.words()}; log {(log.stat().st_size - before) / 1000:.1f} kB",
            flush=True,
        )


def streams(server: Server, seconds: float) -> None:
    """Let four users open 20 streams of events each, which they do not read, while images come."""
    names = [f"user{number}" for number in range(USERS)]
    with (server.data / "tokens").open("a") as tokens:
        tokens.writelines(f"{name} reader {sha256(name.encode()).hexdigest()}\n" for name in names)

    def opened(stack: ExitStack, name: str) -> socket.socket:
        made = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 5))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        made.sendall(f"GET /api/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {name}\r\n\r\n".encode())
        return made

    with ExitStack() as stack:
        took = _told(server, stack.enter_context(opened(stack, names[0]).makefile("r")))
        print(
            f"{TOLD} verdicts are told after {np.median(took):.2f} s (median), the last after {max(took):.2f} s",
            flush=True,
        )
    time.sleep(5)  # until that stream is seen to be over
    with ExitStack() as stack:
        for name in STREAMS * names:
            opened(stack, name)
        time.sleep(2)
        further = opened(stack, names[0]).recv(12).decode()
        at_rest, number = server.resident(), 0
        with Watch(server) as watch:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                file, number = BytesIO(), number + 1
                Image.fromarray(np.full((64, 64), number % 256, np.uint8)).save(file, "PNG")
                _sent(server, file.getvalue() + number.to_bytes(8, "big"))
        lines = server.ask("GET", "/metrics")[1].decode().splitlines()
        [counted] = [line for line in lines if line.startswith("msde_event_streams ")]
    print(
        f"{USERS * STREAMS} streams that nobody reads, {seconds:.0f} s, {number} images: {counted}, one more {further};"
        f" memory from {at_rest:.0f} to {watch.most:.0f} MB; {watch.words()}",
        flush=True,
    )


def _told(server: Server, stream: TextIO) -> list[float]:
    """Give verdicts one after the other; return the seconds until a stream tells of each."""
    address, took = "/api/images/1/verdicts", []
    next(line for line in stream if line == "event: begin\n")
    for _ in range(TOLD):
        start = time.perf_counter()
        status, answer = server.ask("POST", address, b'{"verdict": "normal"}')
        if status != 201:
            raise SystemExit(f"a verdict was answered by {status}: {answer!r}")
        next(line for line in stream if "verdicts" in line)
        took.append(time.perf_counter() - start)
    return took


def _is_open(one: socket.socket) -> bool:
    try:
        return one.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def pictures(server: Server) -> None:
    """Ask at once 44 times for a picture of 9,990 x 9,990 pixels in colour of 16 bits."""
    content = deep_png(SIDE)
    with Watch(server) as scored:
        number = _sent(server, content)
        server.drain()
    print(f"a picture of {SIDE} x {SIDE} RGB16 is scored: memory to {scored.most:.0f} MB; {scored.words()}", flush=True)
    at_rest = _at_rest(server)
    with Watch(server) as watch, ThreadPoolExecutor(PICTURES) as clients:
        start = time.perf_counter()
        path = f"/api/images/{number}/picture"
        statuses = Counter(status for status, _ in clients.map(lambda _: server.ask("GET", path), range(PICTURES)))
        took = time.perf_counter() - start
    print(
        f"{PICTURES} pictures of {SIDE} x {SIDE} RGB16 ({len(content) / 1e6:.2f} MB): answers {dict(statuses)} in"
        f" {took:.1f} s; memory from {at_rest:.0f} to {watch.most:.0f} MB, after {CALM} s {_at_rest(server):.0f} MB;"
        f" {watch.words()}",
        flush=True,
    )


def volumes(server: Server) -> None:
    """Upload five volumes that unpack to 600 MB each."""
    at_rest = _at_rest(server)
    contents = [volume(number) for number in range(VOLUMES)]
    with Watch(server) as watch:
        for content in contents:
            _sent(server, content, "volume.nii.gz")
        server.drain()
    print(
        f"{VOLUMES} volumes of {SLICES} slices ({len(contents[0]) / 1e6:.1f} MB, unpacked"
        f" {SLICES * SLICE_SIDE**2 * 2 / 1e6:.0f} MB), {server.total('failed')} failed: memory from {at_rest:.0f} to"
        f" {watch.most:.0f} MB, after {CALM} s {_at_rest(server):.0f} MB; {watch.words()}",
        flush=True,
    )


def _sent(server: Server, content: bytes, name: str = "attack.png") -> int:
    status, answer = server.ask("POST", f"/api/images?name={name}", content)
    if status != 202:
        raise SystemExit(f"an upload was answered by {status}: {answer!r}")
    return int(json.loads(answer)["images"][0]["id"])


def _at_rest(server: Server) -> float:
    time.sleep(CALM)
    return server.resident()


def deep_png(side: int) -> bytes:
    """Write a PNG in colour of 16 bits, which Pillow does not write: black."""
    packer = zlib.compressobj(9)
    row = bytes(1 + 6 * side)
    packed = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def volume(number: int) -> bytes:
    """Write a packed NIfTI volume whose slices are alike."""
    import nibabel

    header = nibabel.Nifti1Header()
    header.set_data_shape((SLICE_SIDE, SLICE_SIDE, SLICES))
    header.set_data_dtype(np.int16)
    header.set_sform(np.eye(4), 1)
    header.set_qform(np.eye(4), 1)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    row, column = np.mgrid[:SLICE_SIDE, :SLICE_SIDE]
    plane = (np.hypot(row - 512, column - 512) // 8 + number).astype("<i2").tobytes()
    file = BytesIO()
    with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=6) as packed:
        packed.write(header.binaryblock + bytes(4))
        for _ in range(SLICES):
            packed.write(plane)
    return file.getvalue()


@contextmanager
def serving(model: Path) -> Iterator[Server]:
    """Run a service in a folder of its own, which has scored and drawn something."""
    with tempfile.TemporaryDirectory() as name:
        server = Server(model, Path(name) / "data")
        server.start()
        try:
            file = BytesIO()
            Image.fromarray(np.random.default_rng(0).integers(0, 256, (256, 256), dtype=np.uint8)).save(file, "PNG")
            number = _sent(server, file.getvalue())
            server.drain()
            server.ask("GET", f"/api/images/{number}/picture")
            yield server
        finally:
            server.stop()


def main() -> None:
    parser = ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("parts", nargs="*", default=["connections", "streams", "pictures", "volumes"])
    parser.add_argument("--seconds", type=float, default=20)
    given = parser.parse_args()
    for part in given.parts:
        with serving(given.model) as server:
            if part == "connections":
                connections(server, given.seconds)
            if part == "streams":
                streams(server, given.seconds)
            if part == "pictures":
                pictures(server)
            if part == "volumes":
                volumes(server)


if __name__ == "__main__":
    main()
