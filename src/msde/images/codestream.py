"""Compressed streams of the JPEG families: what their headers state, read before a decoder makes room, and their end.

Decoders fill in what is missing at the end of a stream, JPEG's nearly always, so its end is looked for here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

_NOT_A_FRAME = {0xC4, 0xC8, 0xCC}  # JPEG: tables and an extension, among the markers that open a frame
_LS, _LOSSLESS = 0xF7, {0xC3, 0xC7, 0xCB, 0xCF}
_NUMBERED, _MARKED = (b"\1\2\3", b"RGB"), (b"JFIF\0", b"Adobe")
START_OF_SCAN, EOI = 0xDA, b"\xff\xd9"
_JP2, _J2K = b"\x00\x00\x00\x0cjP  ", b"\xff\x4f\xff\x51"
_SOT, _COD, _EOC = b"\xff\x90", b"\xff\x52", b"\xff\xd9"


class Stream(NamedTuple):
    """What the header of a stream states.

    Parameters
    ----------
    kind : {"JPEG", "JPEG-LS", "JPEG 2000"}
    width, height, channels : int
    bits : int
        Of a sample.
    signed : bool
    lossless : bool
        Whether it is JPEG without a cosine transform, or JPEG-LS; not told of JPEG 2000.
    as_coded : bool
        Whether it says nothing of its colours: lossless JPEG, JPEG-LS, JPEG 2000 without a transform, and JPEG without
        a marker of JFIF or Adobe whose components are numbered neither 1, 2, 3, for YCbCr, nor R, G, B.
    """

    kind: str
    width: int
    height: int
    channels: int
    bits: int
    signed: bool
    lossless: bool
    as_coded: bool


def stated(stream: bytes) -> Stream | None:
    """Read the header of a JPEG, JPEG-LS or JPEG 2000 stream.

    Parameters
    ----------
    stream : bytes
        From its first byte; the first kilobytes are enough in practice.

    Returns
    -------
    Stream or None
        None where it is no such stream or its header says nothing.
    """
    try:
        if stream.startswith(b"\xff\xd8"):
            return _of_jpeg(stream)
        at = _codestream(stream)
        return None if at is None else _of_jpeg_2000(stream, at)
    except (IndexError, struct.error):
        return None


def stated_size(stream: bytes) -> tuple[int, int] | None:
    """Read width and height from the header of a stream; None where it is none or says nothing."""
    header = stated(stream)
    return None if header is None else (header.width, header.height)


def is_whole(stream: bytes) -> bool:
    """Return whether a JPEG, JPEG-LS or JPEG 2000 stream goes on to its end; what follows the end is not looked at."""
    try:
        if stream.startswith(b"\xff\xd8"):
            return _ends_as_jpeg(stream)
        at = _codestream(stream)
        return at is not None and _ends_as_jpeg_2000(stream, at)
    except (IndexError, struct.error):
        return False


def _codestream(stream: bytes) -> int | None:
    """Find where JPEG 2000 begins, alone or inside of a JP2 file."""
    if not stream.startswith((_J2K, _JP2)):
        return None
    at = stream.find(_J2K)
    return at if at >= 0 else None


def segments(stream: bytes, at: int = 2) -> Iterator[tuple[int, int, int]]:
    """List the segments of a JPEG from one place to the next scan's header: marker, begin and end of what it holds."""
    while stream[at] == 0xFF:
        marker = stream[at + 1]
        if marker == 0xFF:  # filling
            at += 1
            continue
        begin, at = at + 4, at + 2 + int(struct.unpack_from(">H", stream, at + 2)[0])
        yield marker, begin, at
        if marker == START_OF_SCAN:
            return


def is_frame(marker: int) -> bool:
    """Return whether a JPEG's marker stands before size and components."""
    return 0xC0 <= marker <= 0xCF and marker not in _NOT_A_FRAME


def _of_jpeg(stream: bytes) -> Stream | None:
    marked = False
    for marker, begin, _ in segments(stream):
        if marker == _LS or is_frame(marker):
            bits, height, width, channels = struct.unpack_from(">BHHB", stream, begin)
            kind, plain = "JPEG-LS" if marker == _LS else "JPEG", marker == _LS or marker in _LOSSLESS
            named = stream[begin + 6 : begin + 6 + 3 * channels : 3] in _NUMBERED
            return Stream(kind, width, height, channels, bits, False, plain, plain or not (marked or named))
        marked = marked or stream[begin : begin + 5] in _MARKED
    return None


def _of_jpeg_2000(stream: bytes, at: int) -> Stream:
    length, right, bottom, left, top = struct.unpack_from(">HxxIIII", stream, at + 4)
    channels, sample = struct.unpack_from(">HB", stream, at + 40)
    transformed, at = 0, at + 4 + length
    while stream[at : at + 2] not in (_SOT, b""):
        if stream[at : at + 2] == _COD:
            transformed = stream[at + 8]
        at += 2 + int(struct.unpack_from(">H", stream, at + 2)[0])
    size = max(right - left, 0), max(bottom - top, 0)
    return Stream("JPEG 2000", *size, channels, (sample & 0x7F) + 1, sample >= 0x80, False, not transformed)


def _ends_as_jpeg(stream: bytes) -> bool:
    for marker, _, end in segments(stream):
        if marker == START_OF_SCAN:
            return stream.rfind(EOI, end) >= 0  # it does not occur among packed samples
    return False


def _ends_as_jpeg_2000(stream: bytes, at: int) -> bool:
    at += 2
    while (marker := stream[at : at + 2]) != _EOC:
        length = int(struct.unpack_from(">H", stream, at + 2)[0]) + 2
        if marker == _SOT:
            length = int(struct.unpack_from(">I", stream, at + 6)[0])
            if length == 0:  # the last part goes on to the end
                return stream.rstrip(b"\0").endswith(_EOC)
        if length < 2:
            return False
        at += length
    return True
