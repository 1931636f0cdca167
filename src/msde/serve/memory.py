"""Memory of the process: malloc keeps little, and what it holds for nobody is given back."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from pathlib import Path

# What is set of glibc's malloc: environment variable, number in malloc.h, value. By default each thread has an arena of
# its own, whose gaps add up to hundreds of megabytes, and ever larger blocks are kept there once some were freed.
_LARGE = 8_000_000  # bytes, from which a block is mapped by itself and goes back when it is freed
_MALLOC = (
    ("MALLOC_ARENA_MAX", -8, 2),
    ("MALLOC_MMAP_THRESHOLD_", -3, _LARGE),
    ("MALLOC_TRIM_THRESHOLD_", -1, _LARGE),
)
PAUSE = 10.0
"""Seconds from giving memory back to the next time, which a service at work would take again meanwhile."""
_GROWTH = 30_000_000  # bytes


def keep_little() -> bool:
    """Let malloc keep little, here and in processes to come; return whether it is glibc's."""
    for variable, _, value in _MALLOC:
        os.environ.setdefault(variable, str(value))
    try:
        mallopt = ctypes.CDLL(None).mallopt
        return all(mallopt(number, int(os.environ[variable])) for variable, number, _ in _MALLOC)
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
