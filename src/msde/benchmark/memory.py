"""Peak memory of a stretch of work, in a process that does other work before it."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)


def forget_peak() -> None:
    """Start measuring anew, where the system can (Linux)."""
    with suppress(OSError):
        _CLEAR.write_text("5")


def peak_megabytes() -> float:
    """Return the largest resident memory since `forget_peak`, in MB of 10^6 bytes; NaN where it is not known."""
    with suppress(OSError):
        found = _PEAK.search(_STATUS.read_text())
        if found:
            return int(found[1]) * 1024 / 1e6
    return float("nan")
