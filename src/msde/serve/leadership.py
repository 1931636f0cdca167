"""Which of several processes at one data folder runs what runs once."""

from __future__ import annotations

import fcntl
from contextlib import suppress
from pathlib import Path
from typing import IO


class Leadership:
    """A lock that one process at a time holds; it goes with the process, however that ends.

    Parameters
    ----------
    file : Path
        Made if it is not there.

    Attributes
    ----------
    held : bool
        Whether this process leads.
    """

    def __init__(self, file: Path) -> None:
        self.held = False
        self._path = file
        self._file: IO[str] | None = None

    def seek(self) -> None:
        """Take the lock if it is free."""
        if self._file is None:
            self._file = self._path.open("w")
        if not self.held:
            with suppress(OSError):
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self.held = True

    def give_up(self) -> None:
        """Let another process lead."""
        self.held = False
        if self._file is not None:
            self._file.close()
