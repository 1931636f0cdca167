"""A service in a process of its own, which may be killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import httpx

MSDE = Path(sys.executable).with_name("msde")


class Process:
    """`msde serve` on a free port of loopback."""

    def __init__(self, model: Path, data: Path, *options: str, command: Path = MSDE) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.data = data
        self._command = [command, "serve", model, "--data", data, "--port", str(self.port), *options]
        self.log = data.with_suffix(".log")

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {(self.data / 'admin-token').read_text().strip()}"}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.kill()

    def start(self) -> None:
        with self.log.open("a") as log:
            self._process = subprocess.Popen(self._command, stderr=log, start_new_session=True)
        until = time.monotonic() + 60
        while True:
            try:
                if httpx.get(f"{self.url}/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.05)

    def ask(self, method: str, path: str, **further: Any) -> httpx.Response:
        return httpx.request(method, f"{self.url}{path}", headers=self.headers, timeout=30, **further)

    def rows(self) -> list[dict[str, Any]]:
        """Wait until nothing is queued and return the rows."""
        until = time.monotonic() + 60
        while self.ask("GET", "/api/images?state=queued").json()["total"]:
            assert time.monotonic() < until, "the queue does not get shorter"
            time.sleep(0.05)
        return self.ask("GET", "/api/images?limit=500").json()["rows"]

    def kill(self) -> None:
        """End all its processes at once."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> tuple[int, float]:
        """Ask it to end; return its exit status and the seconds it took."""
        begun = time.monotonic()
        self._process.terminate()
        return self._process.wait(timeout=30), time.monotonic() - begun
