"""The picture size that a compressed stream states, read before a decoder makes room for it."""

from __future__ import annotations

import struct

_NOT_A_FRAME = {0xC4, 0xC8, 0xCC}  # JPEG: tables and an extension, among the markers that open a frame


def stated_size(stream: bytes) -> tuple[int, int] | None:
    """Read width and height from the header of a JPEG, JPEG-LS or JPEG 2000 stream.

    Parameters
    ----------
    stream : bytes
        From its first byte; the first kilobytes are enough in practice.

    Returns
    -------
    (int, int) or None
        None where it is no such stream or its header says nothing.
    """
    if stream.startswith(b"\x00\x00\x00\x0cjP  "):  # a JP2 file around it
        at = stream.find(b"\xff\x4f\xff\x51")
        stream = stream[at:] if at >= 0 else b""
    if stream.startswith(b"\xff\x4f\xff\x51") and len(stream) >= 24:
        right, bottom, left, top = struct.unpack_from(">4I", stream, 8)
        return max(right - left, 0), max(bottom - top, 0)
    if stream.startswith(b"\xff\xd8"):
        return _of_jpeg(stream)
    return None


def _of_jpeg(stream: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(stream):
        if stream[at] != 0xFF:
            return None
        marker = stream[at + 1]
        if marker == 0xFF:  # filling
            at += 1
        elif marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in _NOT_A_FRAME):
            height, width = struct.unpack_from(">HH", stream, at + 5)
            return width, height
        else:
            at += 2 + int(struct.unpack_from(">H", stream, at + 2)[0])
    return None
