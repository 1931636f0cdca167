"""Small pictures and files for the tests of the pixel pipeline."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def gray_ramp(height: int = 24, width: int = 20) -> NDArray[np.uint8]:
    """Give a picture without any symmetry, so that a turn or a flip shows."""
    rows, columns = np.mgrid[:height, :width]
    return (rows * 7 + columns * 3 + (rows > columns) * 20).astype(np.uint8)


def rgb_ramp(height: int = 24, width: int = 20) -> NDArray[np.uint8]:
    gray = gray_ramp(height, width)
    return np.stack([gray, gray[::-1], 255 - gray], axis=-1)


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def small_files() -> dict[str, bytes]:
    """Encode one small valid file of each format and of its more unusual variants."""
    gray, rgb = Image.fromarray(gray_ramp()), Image.fromarray(rgb_ramp())
    wide = Image.fromarray(gray_ramp().astype(np.uint16) * 257)
    alpha = rgb.copy()
    alpha.putalpha(gray)
    exif = Image.Exif()
    exif[0x0112] = 6
    return {
        "gray.png": encoded(gray, "PNG"),
        "rgba.png": encoded(alpha, "PNG"),
        "palette.png": encoded(rgb.quantize(16), "PNG", transparency=3),
        "wide.png": encoded(wide, "PNG"),
        "gray.jpg": encoded(gray, "JPEG"),
        "turned.jpg": encoded(rgb, "JPEG", exif=exif),
        "progressive.jpg": encoded(rgb, "JPEG", progressive=True),
        "cmyk.jpg": encoded(rgb.convert("CMYK"), "JPEG"),
        "wide.tif": encoded(wide, "TIFF"),
        "float.tif": encoded(Image.fromarray(gray_ramp() / np.float32(255)), "TIFF"),
        "deflate.tif": encoded(rgb, "TIFF", compression="tiff_adobe_deflate"),
        "lzw.tif": encoded(gray, "TIFF", compression="tiff_lzw"),
        "gray.bmp": encoded(gray, "BMP"),
        "palette.gif": encoded(rgb.quantize(16), "GIF"),
        "rgb.webp": encoded(rgb, "WEBP", lossless=True),
        "rgb.ppm": encoded(rgb, "PPM"),
        "gray.pgm": encoded(gray, "PPM"),
        "rgb.jp2": encoded(rgb, "JPEG2000"),
    }


def slide_files() -> dict[str, bytes]:
    """Give small pyramids as scanners write them: a violet piece of tissue on glass."""
    import tifffile

    glass = np.full((300, 420, 3), 240, np.uint8)
    glass[64:200, 130:260] = (180, 80, 140)
    files = {}
    for compression in (None, "jpeg", "deflate"):
        buffer = io.BytesIO()
        with tifffile.TiffWriter(buffer) as file:
            options: dict[str, Any] = {"tile": (64, 64), "photometric": "rgb", "compression": compression}
            file.write(glass, subifds=1, resolution=(10_000, 10_000), resolutionunit=3, **options)
            file.write(glass[::4, ::4], subfiletype=1, **options)
        files[f"{compression or 'plain'}.svs"] = buffer.getvalue()
    return files
