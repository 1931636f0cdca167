"""A clock that is put forward and back while a process runs, by libfaketime; its monotonic clock goes on as it does."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.requirements import FAKETIME, need

# libfaketime 0.9.10 takes what `time.sleep` waits for, a moment of the monotonic clock, for one of the other.
_SLEEP = """
import select, time
time.sleep = lambda seconds: select.select((), (), (), seconds) and None
"""
_CACHED = 1  # seconds for which a process remembers it


class Clock:
    """What a process sees as the time.

    Parameters
    ----------
    file : Path
        Where it looks for how far it is put forward; outside of the folders of the process.
    """

    def __init__(self, file: Path) -> None:
        need("faketime")
        self._file = file
        self._python = file.with_suffix(".python")
        self._python.mkdir()
        (self._python / "sitecustomize.py").write_text(_SLEEP)
        self.put(0)

    @property
    def environment(self) -> dict[str, str]:
        """Of a process that is to see it."""
        return {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": str(_CACHED),  # to read it at every look at the time takes most of a processor
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
            "PYTHONPATH": os.pathsep.join([str(self._python), *filter(None, [os.environ.get("PYTHONPATH")])]),
        }

    def put(self, seconds: int) -> None:
        """Put it so many seconds forward of the true time, or back where they are negative; all see it afterwards."""
        written, is_first = self._file.with_suffix(".new"), not self._file.exists()
        written.write_text(f"{seconds:+d}\n")
        os.replace(written, self._file)
        if not is_first:
            time.sleep(_CACHED + 0.1)
