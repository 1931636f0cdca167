"""Square maps made smaller by averages, larger by interpolation, and smoother."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def shrunk(maps: Floats, side: int) -> Floats:
    """Average maps of shape (n, h, w, c) over blocks of whole pixels to at most `side` rows and columns."""
    for axis in (1, 2):
        length = maps.shape[axis]
        starts = np.arange(0, length, -(-length // side))
        if len(starts) < length:
            counts = np.diff(np.append(starts, length)).astype(np.float32).reshape((-1,) + (1,) * (3 - axis))
            maps = (np.add.reduceat(maps, starts, axis=axis) / counts).astype(np.float32, copy=False)
    return maps


def enlarged(maps: Floats, side: int) -> Floats:
    """Interpolate maps of shape (n, h, w) to (n, side, side)."""
    rows, columns = (_interpolation(length, side) for length in maps.shape[1:])
    return maps if maps.shape[1:] == (side, side) else np.asarray(rows @ maps @ columns.T)


def smoothed(maps: Floats) -> Floats:
    """Average each place of maps of shape (n, h, w, c) with its eight neighbours; the border repeats."""
    for axis in (1, 2):
        last = maps.shape[axis] - 1
        places = np.arange(last + 1)
        before, after = (maps.take(np.clip(places + step, 0, last), axis=axis) for step in (-1, 1))
        maps = (before + maps + after) / np.float32(3)
    return maps


@cache
def _interpolation(length: int, side: int) -> Floats:
    """Return the weights (side, length) of each old pixel in each new one, by the distance of their centres."""
    places = np.clip((np.arange(side) + 0.5) * length / side - 0.5, 0, length - 1)
    return np.maximum(1 - np.abs(places[:, None] - np.arange(length)), 0).astype(np.float32)
