"""Memory of the process: few arenas of malloc, and what they hold for nobody is given back."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

ARENAS = 2
_M_ARENA_MAX = -8  # of malloc.h
_GROWTH = 30_000_000  # bytes after which it is worth looking


def share_arenas() -> bool:
    """Let threads share the arenas of glibc's malloc, here and in processes to come; return whether it is glibc's.

    By default each thread has its own, and the gaps in dozens of them add up to hundreds of megabytes.
    """
    os.environ.setdefault("MALLOC_ARENA_MAX", str(ARENAS))
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, int(os.environ["MALLOC_ARENA_MAX"])))
    except (AttributeError, OSError, TypeError, ValueError):
        return False


class Memory:
    """Gives back what the process holds and does not use, whenever it has grown since the last time."""

    def __init__(self) -> None:
        self._least = 0

    def give_back(self) -> None:
        """Have glibc's malloc return free pages to the system, where there are more than there were."""
        now = resident()
        if now > self._least + _GROWTH:
            try:
                ctypes.CDLL(None).malloc_trim(0)
            except (AttributeError, OSError):  # another malloc
                return
            self._least = resident()
        self._least = min(self._least, now)


def resident() -> int:
    """Return how many bytes of memory the process takes; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0
