"""Read an image from any source to float pixels."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from msde.errors import ImageError
from msde.images.intensity import full_range, stated_range
from msde.images.raster import decode_file, decode_image
from msde.images.samples import Samples

if TYPE_CHECKING:
    from PIL.Image import Image


def read_pixels(source: str | os.PathLike[str] | Image | NDArray[Any]) -> NDArray[np.float32]:
    """Read a file, a Pillow image or an array to pixels in [0, 1].

    Integers are divided by the full range of their type (uint8 255, uint16 65535, a 12-bit TIFF 4095), so that the same
    picture gives the same pixels from a file of 8 or 16 bits, an array of either, or floats. Transparency is composited
    over black, the EXIF orientation is applied, CMYK, YCbCr and palettes become RGB. 16-bit colour files keep 8 bits a
    channel.

    Parameters
    ----------
    source : str, os.PathLike, PIL.Image.Image or ndarray
        Array: shape (H, W) or (H, W, C) with C in 1..4 (2 and 4 carry alpha); bool, uint8, uint16, or finite floats in
        [0, 1]. A Pillow image is read at its current frame, a file must hold one.

    Returns
    -------
    ndarray of shape (H, W) or (H, W, 3), float32
        Pixels in [0, 1]; gray stays two-dimensional. May share memory with a float32 array given.

    Raises
    ------
    ImageError
        The source is no whole image within `MAX_PIXELS` and `MIN_SIDE`, or its samples have no stated range.

    Examples
    --------
    >>> read_pixels(np.full((8, 8), 51, np.uint8))[0, 0]
    np.float32(0.2)
    """
    samples, name = _samples(source)
    return full_range(samples, name)


def _samples(source: object) -> tuple[Samples, str]:
    if isinstance(source, str | os.PathLike):
        name = _printable(os.fspath(source))
        return decode_file(source, name), name
    if isinstance(source, np.ndarray):
        name = f"array of shape {source.shape}"
        return stated_range(source, name), name

    from PIL.Image import Image

    if isinstance(source, Image):
        name = _printable(getattr(source, "filename", "")) or f"{source.mode} image"
        return decode_image(source, name), name
    raise ImageError(f"{type(source).__name__}: is no image; give a path, a Pillow image or a NumPy array")


def _printable(path: str | bytes) -> str:
    """Escape what would break an error's one line, such as a line feed in a file name."""
    name = os.fsdecode(path)
    return name if name.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)
