"""The image formats that are read: their readers, file suffixes and signatures, as data.

A file is recognised by its first bytes, never by its name but for MIRAX. Formats which Pillow hands to external
programs (EPS, PDF) are left out on purpose.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Format(NamedTuple):
    """One format: its name, the module here that reads it, its suffixes and a pattern of its first bytes."""

    name: str
    reader: str
    suffixes: tuple[str, ...]
    signature: re.Pattern[bytes]


def _format(name: str, reader: str, suffixes: str, signature: bytes) -> Format:
    return Format(name, f"msde.images.{reader}", tuple(suffixes.split()), re.compile(signature, re.DOTALL))


FORMATS = (
    _format("PNG", "raster", ".png .apng", rb"\x89PNG\r\n\x1a\n"),
    _format("JPEG", "raster", ".jpg .jpeg .jpe .jfif", rb"\xff\xd8\xff"),
    _format("TIFF", "tiff", ".tif .tiff .svs .ndpi .scn .bif", rb"II[*+]\x00|MM\x00[*+]"),
    _format("BMP", "raster", ".bmp .dib", rb"BM"),
    _format("GIF", "raster", ".gif", rb"GIF8[79]a"),
    _format("WEBP", "raster", ".webp", rb"RIFF....WEBP"),
    _format("PPM", "raster", ".pbm .pgm .ppm .pnm", rb"P[1-6]\s"),
    _format("JPEG2000", "raster", ".jp2 .j2k .jpx .jpf .j2c", rb"\xff\x4f\xff\x51|\x00\x00\x00\x0cjP  \r\n\x87\n"),
    _format("DICOM", "dicom", ".dcm .dicom .ima", rb".{128}DICM"),
    _format("NIfTI", "nifti", ".nii .nii.gz", rb".{344}n[+i]1\x00|.{4}n[+i]2\x00\r\n\x1a\n|\x1f\x8b\x08"),
    # Begins like a JPEG, and the slide is in the folder of its name, so here the name decides.
    _format("MIRAX", "tiff", ".mrxs", rb"(?!)"),
)
SIGNATURE_BYTES = 352
SUFFIXES = frozenset(suffix for form in FORMATS for suffix in form.suffixes)
NAMES = ", ".join(form.name for form in FORMATS)
DICOM, NIFTI, MIRAX = (next(form for form in FORMATS if form.name == name) for name in ("DICOM", "NIfTI", "MIRAX"))


def recognise(head: bytes) -> Format | None:
    """Tell a file's format from its first `SIGNATURE_BYTES` bytes, or None where it is none of `FORMATS`.

    A DICOM file may begin with anything, such as a TIFF's header for another reader, so it goes first.
    """
    return next((form for form in (DICOM, *FORMATS) if form.signature.match(head)), None)


def by_suffix(name: str) -> Format | None:
    """Tell the format which a file's name promises, or None."""
    return next((form for form in FORMATS if name.lower().endswith(form.suffixes)), None)
