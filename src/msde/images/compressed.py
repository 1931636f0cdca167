"""Decode one compressed frame or tile, or refuse it where its stream does not go on to its end."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msde.images.codestream import Stream, is_whole, stated
from msde.images.files import FaultError
from msde.images.jpeg_gaps import has_gap

_SEGMENTS = 15
_RLE_HEAD = 64


def decoded(stream: bytes, rows: int, columns: int, channels: int) -> tuple[NDArray[Any], Stream]:
    """Decode a JPEG, JPEG-LS, JPEG 2000 or HTJ2K stream.

    Parameters
    ----------
    stream : bytes
        Of one picture.
    rows, columns, channels : int
        What it has to hold; checked before a decoder makes room.

    Returns
    -------
    values : ndarray of shape (rows, columns) or (rows, columns, channels)
        RGB, but for streams whose colours are as coded.
    header : Stream

    Raises
    ------
    FaultError
        It holds something else, ends early or lacks a part.
    ImportError
        imagecodecs is missing.
    """
    header = stated(stream)
    if header is None:
        raise FaultError("its compressed stream is of no known kind")
    if (header.width, header.height) != (columns, rows):
        raise FaultError("its compressed stream states another size than its header")
    if not is_whole(stream):
        raise FaultError("its compressed stream ends early")
    decode = _decoder(header)
    values = decode(stream)
    if has_gap(stream, values, decode):
        raise FaultError("its compressed stream lacks a part")
    if header.kind == "JPEG-LS" and values.ndim == 3 and values.shape[0] == channels != values.shape[2]:
        values = values.transpose(1, 2, 0)
    if values.shape != ((rows, columns) if channels == 1 else (rows, columns, channels)):
        raise FaultError("its compressed stream holds something else than its header states")
    return values, header


def unpacked(stream: bytes, rows: int, columns: int, channels: int, width: int) -> NDArray[Any]:
    """Decode RLE to samples of `width` bytes.

    Returns
    -------
    ndarray of shape (rows, columns) or (rows, columns, channels)
        Unsigned, as stored.

    Raises
    ------
    FaultError
        Its segments are not those that it has to have, or end early.
    ImportError
        imagecodecs is missing.
    """
    import imagecodecs

    n, *starts = struct.unpack(f"<{1 + _SEGMENTS}I", stream[:_RLE_HEAD])
    if n != channels * width:
        raise FaultError("its compressed stream holds something else than its header states")
    ends = [*starts[1:n], len(stream)]
    planes: NDArray[np.uint8] = np.empty((n, rows * columns), np.uint8)
    for plane, start, end in zip(planes, starts, ends, strict=False):
        segment = imagecodecs.packbits_decode(stream[start:end]) if _RLE_HEAD <= start < end else b""
        if len(segment) < plane.size:
            raise FaultError("its compressed stream ends early")
        plane[:] = np.frombuffer(segment, np.uint8, plane.size)
    # The most significant byte of each channel comes first.
    ordered = planes.reshape(channels, width, rows, columns).transpose(2, 3, 0, 1)
    values = np.ascontiguousarray(ordered).view(f">u{width}")[..., 0].astype(f"u{width}")
    return values[..., 0] if channels == 1 else values


def _decoder(header: Stream) -> Callable[[bytes], NDArray[Any]]:
    import imagecodecs

    if header.kind == "JPEG" and header.as_coded and header.channels == 3:
        return lambda stream: imagecodecs.jpeg8_decode(stream, colorspace="RGB", outcolorspace="RGB")
    return {
        "JPEG": imagecodecs.jpeg8_decode,
        "JPEG-LS": imagecodecs.jpegls_decode,
        "JPEG 2000": imagecodecs.jpeg2k_decode,
    }[header.kind]
