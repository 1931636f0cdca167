"""Read slides that OpenSlide can and tifffile cannot, such as MIRAX: one level of a pyramid, piece by piece."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msde.errors import ImageError
from msde.images.files import damaged, missing
from msde.images.remembered import remembering, state_of

BLOCK_SIDE = 2048


class Pyramid:
    """One level of a slide by OpenSlide, with white where the scanner took no picture.

    Parameters
    ----------
    path : str
        The file.
    name : str
        What an error calls it.
    micrometres : float
        The level nearest to this size of a pixel is taken; the finest, where the file states none.
    least : int
        Side that the level has at least.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns of the level.
    levels : list of tuple of int
        Rows and columns of each.

    Raises
    ------
    ImageError
        The file is damaged, or the library for it missing.
    """

    white = 255

    def __init__(self, path: str, name: str, micrometres: float, least: int) -> None:
        self._name = name
        self._file = _opened(path, name, *state_of(path))
        self.levels = [(height, width) for width, height in self._file.level_dimensions]
        self.level = self._nearest(micrometres, least)
        self.shape = self.levels[self.level]

    def __enter__(self) -> Pyramid:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def region(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Decode a rectangle of the level to (height, width, 3)."""
        return self._read(self.level, x, y, width, height)

    def blocks(self, level: int, side: int = BLOCK_SIDE) -> Iterator[tuple[int, int, NDArray[np.uint8]]]:
        """Decode all of a level in blocks of at most side x side, as (left, top, samples of shape (h, w, 3))."""
        height, width = self.levels[level]
        for top in range(0, height, side):
            for left in range(0, width, side):
                yield left, top, self._read(level, left, top, min(side, width - left), min(side, height - top))

    def _read(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        from PIL import Image

        scale = self._file.level_downsamples[level]
        try:
            piece = self._file.read_region((round(x * scale), round(y * scale)), level, (width, height))
        except Exception as error:
            raise damaged(self._name, "slide", type(error).__name__) from None
        glass = Image.new("RGBA", piece.size, "white")
        return np.asarray(Image.alpha_composite(glass, piece).convert("RGB"))

    def _nearest(self, micrometres: float, least: int) -> int:
        stated = self._file.properties.get("openslide.mpp-x", "")
        try:
            finest = float(stated)
        except ValueError:
            return 0
        if not 0 < finest < math.inf:
            return 0
        wide_enough = [level for level, shape in enumerate(self.levels) if min(shape) >= least] or [0]
        scales = self._file.level_downsamples
        return min(wide_enough, key=lambda level: abs(math.log(finest * scales[level] / micrometres)))


def readable(path: str) -> bool:
    """Tell whether OpenSlide is there and knows the file."""
    try:
        import openslide
    except (ImportError, OSError):  # OSError: its shared library is missing
        return False
    return openslide.OpenSlide.detect_format(path) is not None


@remembering(2)  # the index of some formats takes long to read
def _opened(path: str, name: str, *_: int) -> Any:
    try:
        import openslide
    except (ImportError, OSError):
        raise missing(name, "this kind of slide", "slides") from None
    try:
        return openslide.OpenSlide(path)
    except openslide.OpenSlideUnsupportedFormatError:
        raise ImageError(f"{name}: is no slide that OpenSlide reads, or its folder of data is missing") from None
    except Exception as error:
        raise damaged(name, "slide", type(error).__name__) from None
