"""How long tests wait for other processes and threads: the limit only ends what hangs, however busy the machine is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 300.0  # seconds

Found = TypeVar("Found")


def wait_until(condition: Callable[[], Found | None], what: str, pause: float = 0.05) -> Found:
    """Wait until something is so, and return what says so."""
    until = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < until, f"never came: {what}"
        time.sleep(pause)
    return found
