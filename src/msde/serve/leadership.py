"""Which of several processes at one data folder runs what runs once."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Wait until no other process, and nobody else in this one, is in such a block with the same file."""
    with file.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


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
