"""Worker processes: the parent tells why one ended, and each sees whether all seats are taken."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from msde.serve.logs import log

REPLACED_WITHIN = 30.0
"""Seconds in which another process takes the place of one that ended."""
_told: set[int] = set()


def tell_of_ends() -> None:
    """Have this process log which of its worker processes end, and why; it is Uvicorn that replaces them."""
    signal.signal(signal.SIGCHLD, _tell)


def _tell(*_: object) -> None:
    with suppress(ChildProcessError):
        # Without reaping it, which is for Uvicorn.
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None or ended.si_pid in _told:
            return
        _told.add(ended.si_pid)
        by_signal = ended.si_code != os.CLD_EXITED
        reason = signal.Signals(ended.si_status).name if by_signal else f"exit status {ended.si_status}"
        if reason not in ("exit status 0", "SIGTERM"):  # as it was told to
            log("error", "a worker process ended; another takes its place", worker=ended.si_pid, reason=reason)


class Seats:
    """One for each worker process, taken by a lock that goes with the process, however that ends.

    Parameters
    ----------
    folder : Path
        The service's data folder.
    number : int
    """

    def __init__(self, folder: Path, number: int) -> None:
        self._paths = [folder / f"worker-{seat}.lock" for seat in range(number)] if number > 1 else []
        self._mine: IO[str] | None = None
        self._free_since: float | None = None

    def take(self) -> None:
        """Take a seat, if there is one; call it again until there is."""
        for path in self._paths if self._mine is None else ():
            file = path.open("w")
            if _locked(file, fcntl.LOCK_EX):
                self._mine = file
                return
            file.close()

    def are_taken(self) -> bool:
        """Whether all seats are taken, or one has been free for no longer than it takes to replace a process."""
        self.take()
        if all(_is_held(path) for path in self._paths):
            self._free_since = None
            return True
        self._free_since = self._free_since or time.monotonic()
        return time.monotonic() - self._free_since < REPLACED_WITHIN

    def leave(self) -> None:
        """Leave the seat to another process."""
        if self._mine is not None:
            self._mine.close()


def _locked(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_held(path: Path) -> bool:
    with suppress(OSError), path.open("r") as file:
        return not _locked(file, fcntl.LOCK_SH)
    return False
