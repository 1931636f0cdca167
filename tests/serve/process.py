"""A service in a process of its own, which may be killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import httpx
from tests.patience import PATIENCE, wait_until

MSDE = Path(sys.executable).with_name("msde")
# Each request has a connection of its own, for another process may answer; each with a client of its own would read
# the certificates of all authorities, which takes longer than the answer.
CLIENT = httpx.Client(timeout=PATIENCE, limits=httpx.Limits(max_keepalive_connections=0))


class Process:
    """`msde serve` on a free port of loopback."""

    def __init__(
        self,
        model: Path,
        data: Path,
        *options: str,
        command: Path = MSDE,
        umask: int = -1,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.data = data
        self._command = [*map(str, (command, "serve", model, "--data", data, "--port", self.port, *options))]
        self._umask = umask
        self.log = data.with_suffix(".log")
        self._environment = {**os.environ, **(environment or {})}

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {(self.data / 'admin-token').read_text().strip()}"}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.kill()

    def start(self, status: int = 200) -> None:
        """Start it, and wait until it answers so whether it is ready."""
        self.launch()
        wait_until(lambda: self._answers(status), "a service that answers")

    def launch(self) -> None:
        """Start it."""
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                self._command, stderr=log, start_new_session=True, umask=self._umask, env=self._environment
            )

    def keep_up(self) -> None:
        """Wait until it is ready, and start it again where it ends, as its unit does."""

        def is_ready() -> bool:
            if self._process.poll() is not None:
                self.launch()
            return self._is_ready()

        wait_until(is_ready, "a service that is ready", pause=0.5)

    def ask(self, method: str, path: str, **further: Any) -> httpx.Response:
        headers = {**self.headers, **further.pop("headers", {})}
        return CLIENT.request(method, f"{self.url}{path}", headers=headers, **further)

    def rows(self) -> list[dict[str, Any]]:
        """Wait until nothing is queued and return the rows."""
        wait_until(lambda: self.ask("GET", "/api/images?state=queued").json()["total"] == 0, "an empty queue")
        return self.ask("GET", "/api/images?limit=500").json()["rows"]

    def pids(self) -> list[int]:
        """List its processes."""
        found = []
        for file in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                _, _, group, *_ = file.read_text().rpartition(")")[2].split()
                if int(group) == self._process.pid:
                    found.append(int(file.parent.name))
        return found

    def kill(self) -> None:
        """End all its processes at once."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> int:
        """Ask it to end; return its exit status."""
        self._process.terminate()
        return self._process.wait(PATIENCE)

    def _answers(self, status: int) -> bool:
        assert self._process.poll() is None, self.log.read_text()
        return self._is_ready(status)

    def _is_ready(self, status: int = 200) -> bool:
        try:
            return CLIENT.get(f"{self.url}/readyz", timeout=5).status_code == status
        except httpx.TransportError:
            return False
