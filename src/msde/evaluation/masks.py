"""Masks of abnormal images, found by the stems of their names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from msde.errors import DataError
from msde.images import Part, find_images, read_pixels


class Masks:
    """Masks by the stem of the image's name: ``masks/case7.png`` belongs to ``abnormal/case7.jpg``.

    The paths are files, folders (searched recursively) or globs; in each file 0 is normal, and 1 or 255 abnormal.
    Raises DataError if two masks, or two of the images that are files, share a stem, or no image has a mask.
    """

    def __init__(self, paths: Iterable[str | os.PathLike[str]], images: Sequence[Path | Part]) -> None:
        self._files = _by_stem(find_images(paths), "masks")
        named = _by_stem(images, "abnormal images")
        if not set(named) & set(self._files):
            raise DataError("no abnormal image has a mask; name each mask like its image, such as case7.png")

    def of(self, path: str, shape: tuple[int, int]) -> NDArray[np.bool_] | None:
        """Read the mask of an image of this height and width, or give None where there is none.

        Raises ImageError if it cannot be read, DataError if it is no mask, or of another size.
        """
        file = self._files.get(Path(path).stem)
        if file is None:
            return None
        pixels = read_pixels(file)
        if pixels.ndim == 3:
            pixels = pixels.max(axis=2)
        if pixels.shape != shape:
            sizes = " but ".join(f"{width} x {height} pixels" for height, width in (pixels.shape, shape))
            raise DataError(f"{file}: has {sizes} in its image; resize it to the image's size, without interpolation")
        if len(np.unique(pixels)) > 2:
            raise DataError(f"{file}: has more than two values; give 0 where normal and 255 where abnormal")
        return np.asarray(pixels > 0)


def _by_stem(paths: Iterable[Path | Part], kind: str) -> dict[str, Path]:
    """Sort files by stem; parts of volumes have no masks."""
    found: dict[str, Path] = {}
    for path in (path for path in paths if isinstance(path, Path)):
        if found.setdefault(path.stem, path) != path:
            raise DataError(f"{path}: has the stem of {found[path.stem]}; give {kind} whose names differ in their stem")
    return found
