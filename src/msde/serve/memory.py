"""Memory of the process: few arenas of malloc, and what they hold for nobody is given back."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from pathlib import Path

ARENAS = 2
_M_ARENA_MAX = -8  # of malloc.h
PAUSE = 10.0
"""Seconds from giving memory back to the next time, which a service at work would take again meanwhile."""
_GROWTH = 30_000_000  # bytes


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
    """Gives back what the process holds and does not use, now and then while it is more than it was at best.

    Parameters
    ----------
    holder : callable
        Gives back what is held elsewhere than by malloc.
    """

    def __init__(self, holder: Callable[[], object]) -> None:
        self._holder, self._least, self._next = holder, 0, 0.0

    def look(self) -> None:
        """Give back what can be."""
        held = resident()
        self._least = min(self._least or held, held)
        if held > self._least + _GROWTH and time.monotonic() >= self._next:
            self._holder()
            trim()
            self._next = time.monotonic() + PAUSE


def trim() -> bool:
    """Have glibc's malloc return free pages to the system; return whether it had any."""
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (AttributeError, OSError):  # another malloc
        return False


def resident() -> int:
    """Return how many bytes of memory the process takes; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0
