"""Whether a raster file goes on to its end: decoders are content with less, and fill in what is missing."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from typing import BinaryIO

from msde.images.codestream import is_whole

_TRAILER, _EXTENSION, _IMAGE = 0x3B, 0x21, 0x2C  # what the blocks of a GIF begin with


def has_end(file: BinaryIO, form: str) -> bool:
    """Return whether the end of a file is there.

    Parameters
    ----------
    file : binary file
        Of any position, which is kept.
    form : str
        Name of its format, see `msde.images.formats`. Of those without an end of their own the decoder tells.
    """
    at = file.tell()
    try:
        return form not in _ENDS or _ENDS[form](file)
    except (IndexError, struct.error):
        return False
    finally:
        file.seek(at)


def _png(file: BinaryIO) -> bool:
    size = os.fstat(file.fileno()).st_size
    at = file.seek(8)
    while at + 12 <= size:
        length, kind = struct.unpack(">I4s", file.read(8))
        if kind == b"IEND":
            return True
        at = file.seek(at + length + 12)
    return False


def _stream(file: BinaryIO) -> bool:
    file.seek(0)
    return is_whole(file.read())


def _riff(file: BinaryIO) -> bool:
    file.seek(4)
    return os.fstat(file.fileno()).st_size >= 8 + int.from_bytes(file.read(4), "little")


def _gif(file: BinaryIO) -> bool:
    file.seek(0)
    data = file.read()
    at = 13 + _colours(data[10])
    while (kind := data[at]) != _TRAILER:
        if kind == _IMAGE:
            at += 11 + _colours(data[at + 9])
        elif kind == _EXTENSION:
            at += 2
        else:
            return True  # no block: what follows is no part of the pictures
        while length := data[at]:
            at += 1 + length
        at += 1
    return True


def _colours(flags: int) -> int:
    """Return the bytes of a GIF's table of colours."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


_ENDS: dict[str, Callable[[BinaryIO], bool]] = {
    "PNG": _png,
    "JPEG": _stream,
    "JPEG2000": _stream,
    "WEBP": _riff,
    "GIF": _gif,
}
