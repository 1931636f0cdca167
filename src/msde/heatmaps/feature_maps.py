"""What a network has seen of a batch of images through one view, as far as heat maps need it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from msde.backbones.raw_maps import RawMaps
from msde.heatmaps.resample import shrunk

Floats = NDArray[np.float32]
Shape = tuple[int, ...]

SIDE = 56
MOST_PLACES = 16
MOST_CHANNELS = 320


class PackedMaps(NamedTuple):
    """Feature maps and brightness of n images, each (n, h, w, c) with a grid and channels of its own."""

    fine: NDArray[np.floating]  # the last but one feature map of the network; float16 where they were kept
    coarse: NDArray[np.floating]  # the last
    brightness: NDArray[np.floating]  # mean of the colours; c = 1

    @classmethod
    def of(cls, viewed: RawMaps) -> PackedMaps:
        """Reduce maps to at most 16 x 16 places of 320 channels, and pixels to at most 56 x 56."""
        return cls(_patches(viewed.fine), _patches(viewed.coarse), shrunk(viewed.pixels.mean(axis=1)[..., None], SIDE))

    @property
    def mask(self) -> None:
        """None: maps do not tell background apart."""
        return None

    def shapes(self) -> list[Shape]:
        """Return the shapes of one image's arrays."""
        return [part.shape[1:] for part in self]

    def packed(self) -> Floats:
        """Put an image's values in a row, (n, width)."""
        return np.hstack([part.reshape(len(part), -1) for part in self])

    @classmethod
    def unpacked(cls, rows: NDArray[np.floating], shapes: Sequence[Shape]) -> PackedMaps:
        """Undo `packed`; the type of the rows stays, and they are not copied."""
        ends = np.cumsum([np.prod(shape, dtype=int) for shape in shapes])
        parts = np.split(rows, ends[:-1], axis=1)
        return cls(*(part.reshape(-1, *shape) for part, shape in zip(parts, shapes, strict=True)))


def kept_channels(n: int) -> NDArray[np.intp]:
    """Choose at most 320 of n channels, evenly spaced."""
    return np.linspace(0, n - 1, min(n, MOST_CHANNELS)).astype(np.intp)


def _patches(maps: Floats) -> Floats:
    return shrunk(maps.transpose(0, 2, 3, 1)[..., kept_channels(maps.shape[1])], MOST_PLACES)
