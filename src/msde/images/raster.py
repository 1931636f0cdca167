"""Decode one raster file or Pillow image to samples and the range that its type states."""

from __future__ import annotations

import math
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from msde.errors import ImageError
from msde.images.codestream import stated
from msde.images.compressed import decoded
from msde.images.decoder_warnings import decoders_silenced
from msde.images.ending import has_end
from msde.images.files import Contents, FaultError, damaged, missing, number_of, numbered
from msde.images.formats import Format
from msde.images.jpeg_gaps import has_gap
from msde.images.samples import MAX_PIXELS, Samples, check_size, side_of_squares
from msde.images.upright import upright

if TYPE_CHECKING:
    from PIL.Image import Image

# Pillow's mode -> the mode to take the samples in, for an opaque image and for one with transparency.
_SAMPLES_AS = {
    "1": ("1", "LA"),
    "L": ("L", "LA"),
    "LA": ("LA", "LA"),
    "La": ("LA", "LA"),
    "P": ("RGB", "RGBA"),
    "PA": ("RGBA", "RGBA"),
    "RGB": ("RGB", "RGBA"),
    "RGBA": ("RGBA", "RGBA"),
    "RGBa": ("RGBA", "RGBA"),
    "RGBX": ("RGB", "RGB"),
    "CMYK": ("RGB", "RGB"),
    "YCbCr": ("RGB", "RGB"),
    "HSV": ("RGB", "RGB"),
    "I;16": ("I;16", "I;16"),
    "I;16L": ("I;16L", "I;16L"),
    "I;16B": ("I;16B", "I;16B"),
    "I;16N": ("I;16N", "I;16N"),
    "I": ("I", "I"),
    "F": ("F", "F"),
}
_PLUGIN = {
    "PNG": "Png",
    "JPEG": "Jpeg",
    "TIFF": "Tiff",
    "BMP": "Bmp",
    "GIF": "Gif",
    "WEBP": "WebP",
    "PPM": "Ppm",
    "JPEG2000": "Jpeg2K",
}
_REDUCIBLE = ("L", "RGB")
_AT_ONCE = 2**22  # pixels up to which a picture is taken from Pillow whole
_ROWS = 512  # that are taken at a time of a larger one
_ORIENTATION_TAG = 0x0112
_BITS_TAG = 258
_TILE_TAG = 322
_PHOTOMETRIC_TAG = 262
_WHITE_IS_ZERO = 0
_SUBFILE_TAG = 254
_COPY = 1 | 4  # reduced, or a mask
_PLANES_TAG = 284
_IN_PLANES = 2


def look_into(path: str, form: Format, name: str) -> Contents:
    """Count the pages of a TIFF; files of other formats are one picture.

    Raises
    ------
    ImageError
        The file is damaged.
    """
    if form.name != "TIFF":
        return Contents()
    try:
        with open(path, "rb") as file, _opened(file, form.name) as image:
            return Contents(numbered(len(_pages(image))))
    except Exception as error:
        raise _fault(name, form, error) from None


def tiff_layout(path: str, form: Format, name: str) -> tuple[int, int, bool]:
    """Give width and height of a TIFF's first page, and whether it is stored in tiles.

    Raises
    ------
    ImageError
        The file is damaged.
    """
    try:
        with open(path, "rb") as file, _opened(file, form.name) as image:
            return *image.size, _TILE_TAG in image.tag_v2  # type: ignore[attr-defined]
    except Exception as error:
        raise _fault(name, form, error) from None


def decode(path: str, form: Format, part: str | None, name: str, at_most: int = MAX_PIXELS) -> Samples:
    """Decode a raster file.

    Parameters
    ----------
    path : str
        The file.
    form : Format
        Its format.
    part : str or None
        Number of a TIFF's page.
    name : str
        What an error calls it.
    at_most : int, optional
        Pixels beyond which means of squares of them are given, to be shown in less memory.

    Returns
    -------
    Samples
        The picture as stored, turned as its EXIF orientation asks.

    Raises
    ------
    ImageError
        No readable, whole picture within the limits.
    """
    with open(path, "rb") as file:
        # Pillow's plug-ins raise nearly every built-in exception on damaged input; all of them mean the same here.
        try:
            held: BinaryIO = BytesIO(file.read()) if form.name == "JPEG" else file  # it is looked through first
            if not has_end(held, form.name):
                raise FaultError("the file ends early")
            stream = held.read() if form.name == "JPEG" else b""
            if stream and (unusual := _beyond_pillow(stream, name)):
                return unusual
            held.seek(0)
            with _opened(held, form.name) as image:
                check_size(*image.size, name)
                pages = _pages(image)
                page = pages[number_of(part, len(pages), name, "pages or frames")]
                if page:
                    image.seek(page)
                _check_planes(image, name)
                return _samples(image, name, stream, at_most)
        except (ImageError, MemoryError):
            raise
        except Exception as error:
            raise _fault(name, form, error) from None


def decode_image(image: Image, name: str) -> Samples:
    """Take the samples of a Pillow image (its current frame), turned as its EXIF orientation asks.

    Raises
    ------
    ImageError
        The picture is damaged, outside the limits or in a mode without a stated range.
    """
    try:
        with decoders_silenced():
            return _samples(image, name)
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        raise damaged(name, "Pillow", _said(error)) from None


def _opened(file: BinaryIO, form: str) -> Image:
    from PIL import Image

    import_module(f"PIL.{_PLUGIN[form]}ImagePlugin")
    factory, _ = Image.OPEN[form]  # Image.open would judge the size itself, first by a warning
    return factory(file, "")


def _beyond_pillow(stream: bytes, name: str) -> Samples | None:
    """Read JPEG of more than 8 bits, lossless or JPEG-LS; None for the usual kind."""
    header = stated(stream)
    if header is None or header.channels not in (1, 3) or (header.bits == 8 and not header.lossless):
        return None
    check_size(header.width, header.height, name)
    try:
        values, _ = decoded(stream, header.height, header.width, header.channels)
    except ImportError:
        raise missing(name, f"this kind of {header.kind}", "dicom") from None
    return Samples(values, 0.0, float(2**header.bits - 1))


def _pages(image: Image) -> list[int]:
    """List the pages or frames that are pictures of their own."""
    if image.format == "MPO":  # the further pictures are a camera's previews of the first
        return [0]
    pages = list(range(getattr(image, "n_frames", 1)))
    if image.format == "TIFF" and len(pages) > 1:
        kinds = [_subfile(image, page) for page in pages]
        image.seek(0)
        pages = [page for page, kind in zip(pages, kinds, strict=True) if not kind & _COPY] or [0]
    return pages


def _subfile(image: Image, page: int) -> int:
    image.seek(page)
    return int(image.tag_v2.get(_SUBFILE_TAG, 0))  # type: ignore[attr-defined]


def _check_planes(image: Image, name: str) -> None:
    """Refuse what Pillow misreads: colours of 16 bits in planes."""
    tags = getattr(image, "tag_v2", {})
    if tags.get(_PLANES_TAG) == _IN_PLANES and max(tags.get(_BITS_TAG, (8,))) > 8:
        raise missing(name, "this kind of TIFF", "slides")


def _samples(image: Image, name: str, stream: bytes = b"", at_most: int = MAX_PIXELS) -> Samples:
    """Take the samples; of a JPEG's stream it is looked whether they are all its own."""
    check_size(*image.size, name)
    if image.mode not in _SAMPLES_AS:
        raise ImageError(f"{name}: colour mode {image.mode} has no stated range; convert it to gray or RGB")
    mode = _SAMPLES_AS[image.mode][image.has_transparency_data]
    side = 1 if stream else side_of_squares(*image.size, at_most)  # a JPEG is looked through as a whole
    values = _loaded(image, mode, side)
    if has_gap(stream, values, lambda longer: _loaded(_opened(BytesIO(longer), "JPEG"), mode)):
        raise FaultError("the file lacks a part")
    black, white = _stated_range(image, values)
    return Samples(upright(values, _orientation(image)), black, white)


def _loaded(image: Image, mode: str, side: int = 1) -> NDArray[Any]:
    image.load()
    taken = image if image.mode == mode else image.convert(mode)
    width, height = taken.size
    side = side if mode in _REDUCIBLE else 1
    if side == 1 and width * height <= _AT_ONCE:
        return np.asarray(taken)
    rows = _ROWS * side

    def band(top: int) -> NDArray[Any]:
        box = (0, top, width, min(top + rows, height))
        return np.asarray(taken.reduce(side, box) if side > 1 else taken.crop(box))

    # Some rows at a time, because at once Pillow would hold two further copies on the way.
    first = band(0)
    values = np.empty((math.ceil(height / side), *first.shape[1:]), first.dtype)
    for top in range(0, height, rows):
        values[top // side : (top + rows) // side] = band(top)
    return values


def _stated_range(image: Image, values: NDArray[Any]) -> tuple[float, float]:
    tags = getattr(image, "tag_v2", {})  # a TIFF's
    black = 0.0
    if image.mode == "I":
        # Pillow holds 16-bit data of PNG and PNM in 32 bits; a TIFF's 32 bits are any numbers at all.
        stated = not tags and values.min() >= 0 and values.max() <= 65535
        black, white = (0.0, 65535.0) if stated else (-math.inf, math.inf)
    elif image.mode.startswith("I;16"):
        white = float(2 ** tags.get(_BITS_TAG, (16,))[0] - 1)
    else:
        white = 255.0 if values.dtype == np.uint8 else 1.0
    # Pillow inverts such a TIFF itself where it has 8 bits or fewer.
    if image.mode[0] in "IF" and tags.get(_PHOTOMETRIC_TAG) == _WHITE_IS_ZERO:
        return white, black
    return black, white


def _orientation(image: Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # unreadable EXIF says nothing; the pixels are sound
        return 1


def _fault(name: str, form: Format, error: Exception) -> ImageError:
    # Pillow's words for a compression and a layout of samples that it does not know
    unknown = isinstance(error, KeyError) or "unknown pixel mode" in str(error) or "Missing dimensions" in str(error)
    if form.name == "TIFF" and unknown and not find_spec("tifffile"):
        return missing(name, "this kind of TIFF", "slides")
    return damaged(name, form.name, _said(error))


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
