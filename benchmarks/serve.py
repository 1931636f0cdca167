"""The service on loopback: images a second beside `msde score`, latency at half load, memory, and kills.

Run: python benchmarks/serve.py MODEL.msde FOLDER_OF_IMAGES [rate] [latency] [memory] [kills] [--requests N] [--kills N]
     [--second MODEL, by which what is sent is scored too]
Clients and service share the processors, as `taskset` gives them. Each image differs from all others in some
pixels, so that none is known from before.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from argparse import ArgumentParser
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from io import BytesIO
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image

CLIENTS = 8
MSDE = str(Path(sys.executable).with_name("msde"))


class Server:
    """A service of its own folder; killed and started again at will."""

    def __init__(self, model: Path, data: Path, *options: str) -> None:
        self.model, self.data, self.options = model, data, options
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.local = threading.local()

    def start(self) -> None:
        command = [MSDE, "serve", str(self.model), "--data", str(self.data), "--port", str(self.port), *self.options]
        log = (self.data.parent / "serve.log").open("a")
        self.process = subprocess.Popen(command, stderr=log, start_new_session=True)
        while True:
            try:
                if self.ask("GET", "/readyz")[0] == 200:
                    return
            except (OSError, HTTPException):
                if self.process.poll() is not None:
                    raise SystemExit("the service did not start") from None
            time.sleep(0.05)

    def stop(self, by: int = signal.SIGTERM) -> None:
        os.killpg(self.process.pid, by)
        self.process.wait()

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Ask on this thread's connection, and once more on a new one where the service has closed it meanwhile."""
        connection = getattr(self.local, "connection", None)
        if connection is not None:
            with suppress(OSError, HTTPException):
                return self._ask(connection, method, path, body)
        self.local.connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        return self._ask(self.local.connection, method, path, body)

    def _ask(self, connection: HTTPConnection, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        token = self.data / "admin-token"
        headers = {"Authorization": f"Bearer {token.read_text().strip()}"} if token.exists() else {}
        if body is not None and body.startswith(b"{"):
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, HTTPException):
            connection.close()
            self.local.connection = None
            raise

    def total(self, state: str) -> int:
        return int(json.loads(self.ask("GET", f"/api/images?state={state}&limit=1")[1])["total"])

    def drain(self) -> None:
        while self.total("queued"):
            time.sleep(0.05)

    def resident(self) -> float:
        """Megabytes of the service."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


_numbers = count()


def fresh(content: bytes) -> bytes:
    """Change a picture a little, so that its pixels are new to every cache."""
    with Image.open(BytesIO(content)) as image:
        pixels = np.array(image.convert("L"))
    number = next(_numbers)
    pixels[:32, :32] = np.random.default_rng(number).integers(0, 256, (32, 32), dtype=np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def upload(server: Server, content: bytes) -> None:
    """Send until it is taken."""
    while True:
        status, _ = server.ask("POST", "/api/images?name=benchmark", content)
        if status == 202:
            return
        if status != 429:
            raise SystemExit(f"an upload was answered by {status}")
        time.sleep(0.1)


def by_service(server: Server, contents: list[bytes]) -> float:
    """Images a second from the first byte sent to the last result stored."""
    start = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(lambda content: upload(server, content), contents))
    server.drain()
    return len(contents) / (time.perf_counter() - start)


def at_once(server: Server, contents: list[bytes]) -> float:
    start = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as clients:
        answers = list(clients.map(lambda content: server.ask("POST", "/api/score", content)[0], contents))
    if set(answers) != {200}:
        raise SystemExit(f"answers of {set(answers)}")
    return len(contents) / (time.perf_counter() - start)


def by_command(model: Path, folder: Path) -> tuple[float, float]:
    """Images a second of `msde score` with and without its start."""
    n = len(list(folder.iterdir()))
    start = time.perf_counter()
    subprocess.run([MSDE, "score", str(model), str(folder), "-o", str(folder.parent / "scores.csv")], check=True)
    whole = time.perf_counter() - start
    one = folder.parent / "one"
    one.mkdir(exist_ok=True)
    (one / "0.png").write_bytes(next(folder.iterdir()).read_bytes())
    start = time.perf_counter()
    subprocess.run([MSDE, "score", str(model), str(one / "0.png"), "-o", str(folder.parent / "one.csv")], check=True)
    return n / whole, n / max(whole - (time.perf_counter() - start), 1e-9)


def rate(server: Server, model: Path, contents: list[bytes], folder: Path) -> None:
    shares = []
    for turn in range(3):
        batch, others = ([fresh(content) for content in contents] for _ in range(2))
        images = folder / f"turn-{turn}"
        images.mkdir()
        for number, content in enumerate(batch):
            (images / f"{number:05}.png").write_bytes(content)
        command, command_alone = by_command(model, images)
        service = by_service(server, batch)
        single = at_once(server, others)
        shares.append(service / command_alone)
        print(
            f"rate, {len(batch)} images, {CLIENTS} clients: queue {service:.1f}, at once {single:.1f}, msde score"
            f" {command:.1f} ({command_alone:.1f} without its start) images/s; queue / msde score without start"
            f" {shares[-1]:.2f}",
            flush=True,
        )
    print(f"rate: median share {np.median(shares):.2f}")


def latency(server: Server, contents: list[bytes], n: int = 600) -> None:
    """Requests at random moments at half of what the service can answer."""
    capacity = at_once(server, [fresh(content) for content in contents])
    made = [fresh(contents[i % len(contents)]) for i in range(n)]
    rng = random.Random(0)  # noqa: S311 - no secret
    moments, moment = [], 0.0
    for _ in range(n):
        moment += rng.expovariate(capacity / 2)
        moments.append(moment)
    took = []
    start = time.perf_counter()

    def send(number: int) -> None:
        time.sleep(max(0.0, start + moments[number] - time.perf_counter()))
        begun = start + moments[number]
        if server.ask("POST", "/api/score", made[number])[0] == 200:
            took.append(time.perf_counter() - begun)

    with ThreadPoolExecutor(32) as clients:
        list(clients.map(send, range(n)))
    middle, high = np.quantile(took, [0.5, 0.99])
    print(
        f"latency at half load ({capacity / 2:.1f}/s, random moments, {len(took)} of {n} answered):"
        f" median {1000 * middle:.1f} ms, p99 {1000 * high:.1f} ms, ratio {high / middle:.2f}",
        flush=True,
    )


def memory(server: Server, contents: list[bytes], requests: int) -> None:
    at_once(server, contents)
    by_service(server, [fresh(content) for content in contents])
    seen = []
    steps = 10
    for _ in range(steps):
        per_step = requests // steps
        mixed = [contents[i % len(contents)] for i in range(per_step // 4)]
        with ThreadPoolExecutor(CLIENTS) as clients:
            list(clients.map(lambda content: server.ask("POST", "/api/score", content), mixed))
            list(clients.map(lambda content: upload(server, fresh(content)), mixed))
            list(clients.map(lambda n: server.ask("GET", f"/api/images?offset={n}&limit=20"), range(per_step // 4)))
            list(clients.map(lambda n: server.ask("GET", f"/api/images/{n + 1}/picture"), range(per_step // 4)))
        server.drain()
        seen.append(server.resident())
        print(f"memory after {len(seen) * per_step:,} requests: {seen[-1]:.0f} MB", flush=True)
    print(f"memory: from {seen[0]:.0f} to {seen[-1]:.0f} MB, highest {max(seen):.0f} MB")


def kills(server: Server, contents: list[bytes], n: int) -> None:
    """SIGKILL at random moments while clients send; each repeats until it is answered, as clients do."""
    rng = random.Random(1)  # noqa: S311 - no secret
    sent: list[int] = []
    over = threading.Event()
    before = server.total("scored") + server.total("failed")

    def client(own: random.Random) -> None:
        while not over.is_set():
            content = fresh(own.choice(contents))
            while True:
                try:
                    status, _ = server.ask("POST", "/api/images?name=benchmark", content)
                    if status == 202:
                        sent.append(1)
                        break
                except (OSError, HTTPException):
                    pass
                time.sleep(0.05)

    with ThreadPoolExecutor(4) as clients:
        running = [clients.submit(client, random.Random(seed)) for seed in range(4)]  # noqa: S311
        for _ in range(n):
            time.sleep(rng.uniform(0.1, 2.0))
            server.stop(signal.SIGKILL)
            server.start()
        over.set()
        for future in running:
            future.result()
    server.drain()
    after = server.total("scored") + server.total("failed") - before
    print(
        f"kills: {n}; {len(sent)} images were accepted, {after} have a result ({server.total('failed')} failed):"
        f" {max(0, len(sent) - after)} lost, {max(0, after - len(sent))} doubled"
    )


def main() -> None:
    parser = ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("parts", nargs="*", default=["rate", "latency", "memory", "kills"])
    parser.add_argument("--n", type=int, default=150)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--second", type=Path)
    given = parser.parse_args()
    print(f"processors: {len(os.sched_getaffinity(0))}", flush=True)
    contents = [path.read_bytes() for path in sorted(given.images.iterdir()) if path.is_file()][: given.n]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = Server(given.model, folder / "data", *([] if given.second is None else [str(given.second)]))
        server.start()
        try:
            if "rate" in given.parts:
                rate(server, given.model, contents, folder)
            if "latency" in given.parts:
                latency(server, contents)
            if "memory" in given.parts:
                memory(server, contents, given.requests)
            if "kills" in given.parts:
                kills(server, contents, given.kills)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
