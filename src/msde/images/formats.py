"""The image formats that are read: their file suffixes, signatures and Pillow plug-ins, as data.

A file is recognised by its first bytes, never by its name. Formats which Pillow hands to external programs (EPS, PDF)
are left out on purpose.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Format(NamedTuple):
    """One raster format: its name in Pillow, the plug-in's module, its suffixes and a pattern of its first bytes."""

    name: str
    plugin: str
    suffixes: tuple[str, ...]
    signature: re.Pattern[bytes]


def _format(name: str, plugin: str, suffixes: str, signature: bytes) -> Format:
    return Format(name, f"PIL.{plugin}ImagePlugin", tuple(suffixes.split()), re.compile(signature, re.DOTALL))


FORMATS = (
    _format("PNG", "Png", ".png .apng", rb"\x89PNG\r\n\x1a\n"),
    _format("JPEG", "Jpeg", ".jpg .jpeg .jpe .jfif", rb"\xff\xd8\xff"),
    _format("TIFF", "Tiff", ".tif .tiff", rb"II[*+]\x00|MM\x00[*+]"),
    _format("BMP", "Bmp", ".bmp .dib", rb"BM"),
    _format("GIF", "Gif", ".gif", rb"GIF8[79]a"),
    _format("WEBP", "WebP", ".webp", rb"RIFF....WEBP"),
    _format("PPM", "Ppm", ".pbm .pgm .ppm .pnm", rb"P[1-6]\s"),
    _format("JPEG2000", "Jpeg2K", ".jp2 .j2k .jpx .jpf .j2c", rb"\xff\x4f\xff\x51|\x00\x00\x00\x0cjP  \r\n\x87\n"),
)
SIGNATURE_BYTES = 16
SUFFIXES = frozenset(suffix for form in FORMATS for suffix in form.suffixes)
NAMES = ", ".join(form.name for form in FORMATS)


def recognise(head: bytes) -> Format | None:
    """Tell a file's format from its first `SIGNATURE_BYTES` bytes, or None where it is none of `FORMATS`."""
    return next((form for form in FORMATS if form.signature.match(head)), None)
