"""Room on the disk: uploads leave a reserve, so that what was taken can still be scored and decided on."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from msde.serve.errors import Full

_PART = 20  # of a disk that is the reserve at most
_BALLAST = 2_000_000  # bytes


@dataclass(frozen=True)
class Room:
    """The disk below the data folder.

    Parameters
    ----------
    folder : Path
        The service's data folder.
    reserve : int
        Bytes that uploads leave free, or a twentieth of the disk if that is less.
    """

    folder: Path
    reserve: int

    def has(self, size: int = 0) -> bool:
        """Whether the reserve is there, and these bytes beside it."""
        total, _, free = shutil.disk_usage(self.folder)
        return free >= min(self.reserve, total // _PART) + size

    def check(self, size: int = 0) -> None:
        """Refuse what would take of the reserve.

        Raises
        ------
        Full
        """
        if not self.has(size):
            raise Full

    def drop_ballast(self) -> None:
        """Give up the file that is only there for that, where the disk is full.

        A database needs a little room even to be opened.
        """
        if not self.has():
            self._ballast.unlink(missing_ok=True)

    def keep_ballast(self) -> None:
        """Make that file, where there is room for it."""
        if not self._ballast.exists() and self.has(_BALLAST):
            with suppress(OSError):
                self._ballast.write_bytes(os.urandom(_BALLAST))  # which no disk packs

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"
