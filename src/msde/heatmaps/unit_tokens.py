"""What a network has seen of images as directions alone: the last feature map, each place at unit length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from msde.backbones.raw_maps import RawMaps
from msde.heatmaps.feature_maps import SIDE, Shape
from msde.heatmaps.foreground import Mask, foreground, resampled
from msde.heatmaps.resample import shrunk
from msde.method.arrays import IndexArray, evenly_spaced, unit

Floats = NDArray[np.float32]

MOST_PLACES = 64


class UnitTokens(NamedTuple):
    """Tokens of n images, and where there is something to see."""

    tokens: NDArray[np.floating]  # (n, h, w, c): of unit length; float16 where they were kept
    foreground: NDArray[np.floating]  # (n, 56, 56): 1, and 0 where there is flat background

    @classmethod
    def of(cls, viewed: RawMaps) -> UnitTokens:
        """Take the last map, averaged to at most 64 x 64 places."""
        maps = shrunk(viewed.coarse.transpose(0, 2, 3, 1), MOST_PLACES)
        return cls(unit(maps), foreground(viewed.pixels).astype(np.float32))

    @classmethod
    def blank(cls, channels: tuple[int, int]) -> UnitTokens:
        """Return an image of nothing, of a network with these channels of its last maps."""
        return cls(np.zeros((1, 2, 2, channels[1]), np.float32), np.ones((1, SIDE, SIDE), np.float32))

    def shapes(self) -> list[Shape]:
        """Return the shapes of one image's arrays."""
        return [part.shape[1:] for part in self]

    def packed(self) -> Floats:
        """Put an image's values in a row, (n, width)."""
        return np.hstack([part.reshape(len(part), -1) for part in self]).astype(np.float32, copy=False)

    @classmethod
    def unpacked(cls, rows: NDArray[np.floating], shapes: Sequence[Shape]) -> UnitTokens:
        """Undo `packed`; the type of the rows stays, because they may be many."""
        end = int(np.prod(shapes[0]))
        return cls(rows[:, :end].reshape(-1, *shapes[0]), rows[:, end:].reshape(-1, *shapes[1]))

    def taken(self, rows: IndexArray) -> UnitTokens:
        """Return some of the images."""
        return UnitTokens(*(part[rows] for part in self))

    @property
    def mask(self) -> Mask:
        """Where there is no flat background, (n, 56, 56)."""
        return self.foreground > 0.5

    def chosen(self, rows: IndexArray, most: int, masked: bool) -> Iterator[Floats]:
        """Yield tokens (m, c) of each of some images, at most so many of all, evenly spaced.

        Where `masked`, they are of the foreground, but for images that have none.
        """
        grid, masks = self.tokens.shape[1:3], self.mask
        for number in rows:
            mask = masks[number]
            counted = resampled(mask[None], grid)[0] if masked and mask.any() else np.ones(grid, np.bool_)
            kept = self.tokens[number][counted]
            yield kept[evenly_spaced(len(kept), max(1, most // len(rows)))].astype(np.float32)
