"""Read an image from any source to float pixels."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from msde.errors import ImageError
from msde.images.files import decode_file
from msde.images.intensity import array_samples, to_pixels
from msde.images.rule import ImageRule
from msde.images.samples import Samples
from msde.images.source import Part

if TYPE_CHECKING:
    from PIL.Image import Image

_DEFAULT = ImageRule()


def read_pixels(
    source: str | os.PathLike[str] | Image | NDArray[Any], rule: ImageRule = _DEFAULT
) -> NDArray[np.float32]:
    """Read a file, a Pillow image or an array to pixels in [0, 1].

    Which samples become black and white is the rule's business, see :class:`msde.images.ImageRule`. Where it is the
    full range, integers are divided by that of their type (uint8 255, uint16 65535, a 12-bit file 4095), so that the
    same picture gives the same pixels from a file of 8 or 16 bits, an array of either, floats, DICOM or NIfTI.
    Transparency is composited over black, the EXIF orientation is applied, CMYK, YCbCr and palettes become RGB. PNG
    files in colour of 16 bits keep 8 bits a channel.

    Parameters
    ----------
    source : str, os.PathLike, PIL.Image.Image or ndarray
        Array: shape (H, W) or (H, W, C) with C in 1..4 (2 and 4 carry alpha); bool, uint8, uint16, or finite floats in
        [0, 1]; other integers and floats where the rule is a window or percentiles. A Pillow image is read at its
        current frame. A file that holds several pictures needs the name of one, such as ``scan.nii.gz#012``.
    rule : ImageRule, optional
        Its intensity rule is applied; by default ``dicom``.

    Returns
    -------
    ndarray of shape (H, W) or (H, W, 3), float32
        Pixels in [0, 1]; gray stays two-dimensional. Shares no memory with an array given.

    Raises
    ------
    ImageError
        The source is no whole image within `MAX_PIXELS` and `MIN_SIDE`, or its samples have no range that the rule can
        use.

    Examples
    --------
    >>> read_pixels(np.full((8, 8), 51, np.uint8))[0, 0]
    np.float32(0.2)
    """
    samples, name = decoded_source(source)
    return to_pixels(samples, rule, name)


def decoded_source(source: object) -> tuple[Samples, str]:
    """Decode a source as `read_pixels` takes it; return its samples, and what an error calls it.

    Raises
    ------
    ImageError
        As `read_pixels`, but for what the rule finds.
    """
    if isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        name = _printable(path)
        part = source if isinstance(source, Part) else Part.named(os.fsdecode(path))
        if part is not None and part.fault is not None:
            raise ImageError(f"{name}: {part.fault}")
        if part is not None:
            return decode_file(part.path, name, part.label), name
        return decode_file(path, name), name
    if isinstance(source, np.ndarray):
        name = f"array of shape {source.shape}"
        return array_samples(source, name), name

    from PIL.Image import Image

    if isinstance(source, Image):
        from msde.images.raster import decode_image

        name = _printable(getattr(source, "filename", "")) or f"{source.mode} image"
        return decode_image(source, name), name
    raise ImageError(f"{type(source).__name__}: is no image; give a path, a Pillow image or a NumPy array")


def _printable(path: str | bytes) -> str:
    """Escape what would break an error's one line, such as a line feed in a file name."""
    name = os.fsdecode(path)
    return name if name.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)
