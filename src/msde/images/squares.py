"""Any source to the squares that networks take, in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from msde.images.intensity import pixel_bands, to_pixels
from msde.images.reader import decoded_source
from msde.images.resize import fit_bands, to_input
from msde.images.room import PixelRoom
from msde.images.rule import ImageRule

if TYPE_CHECKING:
    from PIL.Image import Image

ROOM = PixelRoom(4096 * 4096)
"""For what is decoded at once in this process: one large image, or many small ones."""
AT_ONCE = 2**22
"""Pixels up to which a picture is scaled and fitted at once."""
BAND = 2**17
"""Pixels of a larger one that are: as floats they stay in the processor's cache until they are resized."""


def read_squares(
    source: str | os.PathLike[str] | Image | NDArray[Any], squares: Sequence[NDArray[np.float32]], rule: ImageRule
) -> tuple[tuple[int, int], float]:
    """Read an image and fit it to squares, as `read_pixels` and `to_input` do, without all of it in floats.

    Parameters
    ----------
    source : str, os.PathLike, PIL.Image.Image or ndarray
        As `msde.images.read_pixels` takes it.
    squares : sequence of ndarray of shape (3, size, size), float32
        Where to write, such as rows of batches.
    rule : ImageRule
        How it becomes pixels, and fits a square.

    Returns
    -------
    shape : (int, int)
        Height and width in pixels.
    peak : float
        The brightest pixel, in [0, 1].

    Raises
    ------
    ImageError
        As `msde.images.read_pixels`.
    """
    with ROOM.admitting():
        samples, name = decoded_source(source)
        height, width = samples.values.shape[:2]
        if height * width > AT_ONCE:
            bands = pixel_bands(samples, rule, name, max(1, BAND // width))
            return (height, width), fit_bands(bands, (height, width), squares, rule.aspect)
        pixels = to_pixels(samples, rule, name)
    for square in squares:
        to_input(pixels, square.shape[1], out=square, aspect=rule.aspect)
    return (height, width), float(pixels.max())
