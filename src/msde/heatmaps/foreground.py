"""Which places of an image are no flat background: black around a scan, the table of a scanner, an empty margin."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from msde.heatmaps.feature_maps import SIDE

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

FLAT = 8 / 255
"""Range of a place's pixels up to which it is flat: what lossy compression leaves of an even colour."""
LEAST_SHARE = 0.25
"""Share of the area that is background in half of the normals, from which on backgrounds are told apart."""


def foreground(pixels: Floats) -> Mask:
    """Tell background from the rest.

    Background are places that are flat, as bright as the image's flat border, and joined to it by others of the kind: a
    dark place inside of what is shown is none.

    Parameters
    ----------
    pixels : ndarray of shape (n, 3, size, size)
        RGB in [0, 1].

    Returns
    -------
    ndarray of shape (n, 56, 56)
        True where there is no background.
    """
    low, high = _over_blocks(np.minimum, pixels), _over_blocks(np.maximum, pixels)
    flat = (high - low).max(axis=1) <= FLAT
    brightness = (high + low).mean(axis=1) / 2
    found = np.stack([_background(*image) for image in zip(flat, brightness, strict=True)])
    return resampled(~found, (SIDE, SIDE))


def resampled(masks: Mask, grid: tuple[int, int]) -> Mask:
    """Take masks (n, h, w) to another grid: a place of a coarser one is true where any of those in it is."""
    for axis, new in enumerate(grid, 1):
        old = masks.shape[axis]
        if new < old:
            masks = np.logical_or.reduceat(masks, np.arange(new) * old // new, axis=axis)
        elif new > old:
            masks = masks.take((2 * np.arange(new) + 1) * old // (2 * new), axis=axis)
    return masks


def tells(masks: Mask) -> bool:
    """Whether enough of the normals' area is background, by their masks (n, 56, 56), for it to be told apart."""
    return bool(np.median(1 - masks.mean(axis=(1, 2))) >= LEAST_SHARE)


def _over_blocks(reduce: Any, pixels: Floats) -> Floats:
    step = max(2, -(-pixels.shape[2] // SIDE))  # a pixel by itself would always be flat, one left over too
    starts = np.arange(0, pixels.shape[2] - 1, step)
    return np.asarray(reduce.reduceat(reduce.reduceat(pixels, starts, axis=2), starts, axis=3))


def _background(flat: Mask, brightness: Floats) -> Mask:
    border = np.ones_like(flat)
    border[1:-1, 1:-1] = False
    if not (flat & border).any():
        return np.zeros_like(flat)
    alike = flat & (np.abs(brightness - np.median(brightness[flat & border])) <= FLAT)
    found = alike & border
    while True:
        grown = found.copy()
        grown[1:] |= found[:-1]
        grown[:-1] |= found[1:]
        grown[:, 1:] |= found[:, :-1]
        grown[:, :-1] |= found[:, 1:]
        grown &= alike
        if (grown == found).all():
            return found
        found = grown
