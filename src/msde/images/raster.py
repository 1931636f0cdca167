"""Decode one raster file or Pillow image to samples and the range that its type states."""

from __future__ import annotations

import os
import stat
from importlib import import_module
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from msde.errors import ImageError
from msde.images.formats import NAMES, SIGNATURE_BYTES, recognise
from msde.images.samples import Samples, check_size
from msde.images.silence import pillow_silenced

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
# EXIF orientation -> (swap the axes, flip rows, flip columns), applied in this order.
_ORIENTATION = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
_ORIENTATION_TAG = 0x0112
_BITS_TAG = 258
_PHOTOMETRIC_TAG = 262
_WHITE_IS_ZERO = 0


def decode_file(path: str | os.PathLike[str], name: str) -> Samples:
    """Decode a raster file in one of the formats of `msde.images.formats`.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    name : str
        What an error calls it.

    Returns
    -------
    Samples
        The picture as stored, turned as its EXIF orientation asks.

    Raises
    ------
    ImageError
        No readable, whole picture within the limits.
    """
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise ImageError(f"{name}: is a folder, not an image; give the images in it")
        if not stat.S_ISREG(status.st_mode):  # opening a pipe or a device would wait for ever
            raise ImageError(f"{name}: is no regular file; give an image file")
        if status.st_size == 0:
            raise ImageError(f"{name}: is empty (0 bytes); copy or export it again")
        with open(path, "rb") as file:
            return _decode_stream(file, name)
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        reason = getattr(error, "strerror", None) or str(error)
        raise ImageError(f"{name}: cannot be opened ({reason}); check the path and its permissions") from None


def decode_image(image: Image, name: str) -> Samples:
    """Take the samples of a Pillow image (its current frame), turned as its EXIF orientation asks.

    Raises
    ------
    ImageError
        The picture is damaged, outside the limits or in a mode without a stated range.
    """
    try:
        with pillow_silenced():
            return _samples(image, name)
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        raise _damaged(name, "Pillow", error) from None


def _decode_stream(file: BinaryIO, name: str) -> Samples:
    form = recognise(file.read(SIGNATURE_BYTES))
    if form is None:
        raise ImageError(f"{name}: is not an image in a format that is read ({NAMES}); convert it to PNG")
    file.seek(0)
    # Pillow's plug-ins raise nearly every built-in exception on damaged input; all of them mean the same here.
    try:
        with pillow_silenced():
            from PIL import Image

            import_module(form.plugin)
            factory, _ = Image.OPEN[form.name]  # Image.open would judge the size itself, first by a warning
            with factory(file, "") as image:
                _check_one_page(image, name)
                return _samples(image, name)
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        raise _damaged(name, form.name, error) from None


def _check_one_page(image: Image, name: str) -> None:
    check_size(*image.size, name)
    pages = getattr(image, "n_frames", 1)
    # The further pictures of an MPO are a camera's previews of the first.
    if pages > 1 and image.format != "MPO":
        raise ImageError(f"{name}: holds {pages} pages or frames where one is expected; save each as a file of its own")


def _samples(image: Image, name: str) -> Samples:
    check_size(*image.size, name)
    if image.mode not in _SAMPLES_AS:
        raise ImageError(f"{name}: colour mode {image.mode} has no stated range; convert it to gray or RGB")
    image.load()
    mode = _SAMPLES_AS[image.mode][image.has_transparency_data]
    values = np.asarray(image if image.mode == mode else image.convert(mode))
    black, white = _stated_range(image, values, name)
    return Samples(_upright(values, _orientation(image)), black, white)


def _stated_range(image: Image, values: NDArray[Any], name: str) -> tuple[float, float]:
    tags = getattr(image, "tag_v2", {})  # a TIFF's
    if image.mode == "I":
        # Pillow holds 16-bit data of PNG and PNM in 32 bits; a TIFF's 32 bits are any numbers at all.
        if tags or values.min() < 0 or values.max() > 65535:
            raise ImageError(f"{name}: signed or 32-bit samples have no stated range; save it with 16 unsigned bits")
        return 0.0, 65535.0
    if image.mode.startswith("I;16"):
        white = float(2 ** tags.get(_BITS_TAG, (16,))[0] - 1)
    else:
        white = 255.0 if values.dtype == np.uint8 else 1.0
    # Pillow inverts such a TIFF itself where it has 8 bits or fewer.
    if image.mode[0] in "IF" and tags.get(_PHOTOMETRIC_TAG) == _WHITE_IS_ZERO:
        return white, 0.0
    return 0.0, white


def _orientation(image: Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # unreadable EXIF says nothing; the pixels are sound
        return 1


def _upright(values: NDArray[Any], orientation: int) -> NDArray[Any]:
    swap, flip_rows, flip_columns = _ORIENTATION.get(orientation, (False, False, False))
    if swap:
        values = values.swapaxes(0, 1)
    return values[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]


def _damaged(name: str, form: str, error: Exception) -> ImageError:
    reason = " ".join(str(error).split())[:120] or type(error).__name__
    return ImageError(f"{name}: damaged or truncated {form} image ({reason}); copy or export it again")
