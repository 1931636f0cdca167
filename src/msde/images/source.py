"""Images inside of files and folders: slices, frames, pages and tiles, by name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msde.errors import ImageError
from msde.images.files import look_into
from msde.images.formats import by_suffix

SEPARATOR = "#"
ONE_PICTURE = frozenset({"PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM", "JPEG2000"})
"""Formats whose name is enough to know that there is one picture, so that the file is not opened twice."""


@dataclass(frozen=True, slots=True)
class Part:
    """One slice, frame, page or tile of a volume, stack or slide.

    Its name, `os.fspath` of it, is ``VOLUME#LABEL``, which `msde.images.read_pixels` takes as well.

    Parameters
    ----------
    volume : str
        What the parts of one volume share: the path of the file, or of the series' folder.
    path : str
        The file.
    label : str or None
        Which picture of the file; None where the file is the slice.
    fault : str or None
        Why it is not to be read, where it cannot be placed in the volume.
    """

    volume: str
    path: str
    label: str | None
    fault: str | None = None

    def __fspath__(self) -> str:
        return f"{self.volume}{SEPARATOR}{self.label or os.path.basename(self.path)}"

    def __str__(self) -> str:
        return os.fspath(self)

    @classmethod
    def named(cls, name: str) -> Part | None:
        """Find the part that a name stands for, or None where it is no such name."""
        volume, separator, label = name.rpartition(SEPARATOR)
        if not separator or os.path.lexists(name) or not os.path.exists(volume):
            return None
        if os.path.isdir(volume):
            return cls(volume, os.path.join(volume, label), None)
        return cls(volume, volume, label)


def parts_of(path: str | os.PathLike[str]) -> list[Part]:
    """List the parts of a file; none where it is one picture, or cannot be read, which its reader will say.

    Raises nothing on account of the file.
    """
    name = str(Path(path))
    form = by_suffix(name)
    if form is not None and form.name in ONE_PICTURE:
        return []
    try:
        contents = look_into(name, name)
    except ImageError:
        return []
    return [Part(name, name, label) for label in contents.parts] if contents else []


def expanded(sources: Iterable[Any]) -> Iterator[Any]:
    """Put the parts of a file in place of its path, as they are asked for; all else passes."""
    for source in sources:
        parts = parts_of(source) if isinstance(source, str | Path) else []
        yield from parts or [source]
