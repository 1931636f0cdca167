"""What files are called in a page that leaves the place where they lie: by paths below their common folder."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from msde.output.words import printable


@dataclass(frozen=True)
class Names:
    """Paths below one absolute folder."""

    folder: str

    @classmethod
    def below(cls, paths: Iterable[str]) -> Names:
        """Find the innermost folder that holds all paths."""
        folders = {os.path.dirname(os.path.abspath(path)) for path in paths}
        return cls(os.path.commonpath(folders) if folders else os.getcwd())

    def short(self, path: str) -> str:
        """Return the name of a file: its path below the folder."""
        return printable(os.path.relpath(os.path.abspath(path), self.folder))

    def shorten(self, text: str, path: str) -> str:
        """Replace a file's path, and the folder, in an error's line."""
        return text.replace(printable(path), self.short(path)).replace(printable(os.path.join(self.folder, "")), "")
