"""Whether a JPEG has data of all its pixels, in whole streams too: what is lost in the middle is missing at the end.

A decoder that meets a marker before its picture is done paints the rest, up to the next restart, in middle gray, and
tells nobody. Where the last pixel has this gray, the picture is decoded once more, with further data before each
marker: who had enough never looks at them and gives the same picture. Other pictures cost no second pass, but for the
few that are coded in several.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from msde.images.codestream import EOI, START_OF_SCAN, is_frame, segments, stated

_RESTART_INTERVAL, _PROGRESSIVE = 0xDD, 2  # the latter among the lower two bits of a frame's marker
_RESTART = re.compile(rb"\xff+[\xd0-\xd7]")
_NEXT = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")  # what ends a scan
_FURTHER = bytes.fromhex("5a330096a5cc1169") * 8  # of any code: no stretch of it paints many pixels middle gray


class _Frame(NamedTuple):
    """How the pixels lie in a stream; `interval` counts blocks, 0 where there are no restarts."""

    width: int
    height: int
    middle: int
    block: tuple[int, int]
    interval: int
    in_one_scan: bool
    scan: int

    def lasts(self) -> NDArray[np.intp]:
        """Return the numbers of the blocks before a restart or the end."""
        n = -(-self.width // self.block[1]) * -(-self.height // self.block[0])
        return np.append(np.arange(self.interval or n, n, self.interval or n), n) - 1

    def lacks_restarts(self, stream: bytes) -> bool:
        """Return whether the one scan has fewer restarts than its picture needs."""
        if not (self.interval and self.in_one_scan):
            return False
        found = _RESTART.findall(stream, self.scan, stream.find(EOI, self.scan))
        return len(found) < len(self.lasts()) - 1


def has_gap(stream: bytes, values: NDArray[Any], decode: Callable[[bytes], NDArray[Any]]) -> bool:
    """Return whether pixels were filled in.

    Parameters
    ----------
    stream : bytes
        JPEG that goes on to its end, see `msde.images.codestream.is_whole`. Others have no gap.
    values : ndarray of shape (H, W) or (H, W, C)
        As decoded.
    decode : callable
        Decodes another stream alike.

    Returns
    -------
    bool
        What lacks within the last block alone is not told.
    """
    header = stated(stream)
    if header is None or header.kind != "JPEG":
        return False
    frame = _frame(stream, header.bits, header.lossless)
    if frame.in_one_scan and header.channels in (1, 3) and not _ends_in_gray(values, frame):
        return False
    try:
        return frame.lacks_restarts(stream) or not np.array_equal(decode(_lengthened(stream)), values)
    except (IndexError, struct.error):  # what follows a scan is no header
        return True


def _frame(stream: bytes, bits: int, lossless: bool) -> _Frame:
    interval, width, height, channels, scanned, scan = 0, 0, 0, 0, 0, 0
    across, down, progressive = 1, 1, False
    for marker, begin, end in segments(stream):
        if is_frame(marker):
            height, width, channels = struct.unpack_from(">HHB", stream, begin + 1)
            sampling = stream[begin + 7 : begin + 7 + 3 * channels : 3] if channels > 1 else b"\x11"
            across, down = max(s >> 4 for s in sampling), max(s & 15 for s in sampling)
            progressive = marker & 3 == _PROGRESSIVE
        elif marker == _RESTART_INTERVAL:
            (interval,) = struct.unpack_from(">H", stream, begin)
        elif marker == START_OF_SCAN:
            scanned, scan = stream[begin], end
    side = 1 if lossless else 8
    in_one_scan = scanned == channels and not progressive
    return _Frame(width, height, 2 ** (bits - 1), (down * side, across * side), interval, in_one_scan, scan)


def _ends_in_gray(values: NDArray[Any], frame: _Frame) -> bool:
    """Return whether the last pixel before a restart or the end is middle gray."""
    height, width = frame.block
    down, across = np.divmod(frame.lasts(), -(-frame.width // width))
    rows = np.minimum((down + 1) * height, min(frame.height, values.shape[0])) - 1
    columns = np.minimum((across + 1) * width, min(frame.width, values.shape[1])) - 1
    return bool((values[rows, columns].reshape(len(rows), -1) == frame.middle).all(axis=1).any())


def _lengthened(stream: bytes) -> bytes:
    """Put further data before each marker that ends or parts a scan."""
    parts: list[bytes] = []
    at = 0
    while True:
        *_, (marker, _, begin) = segments(stream, at or 2)
        end = _NEXT.search(stream, begin)
        if marker != START_OF_SCAN or end is None:
            return b"".join([*parts, stream[at:]])
        scan = _RESTART.sub(lambda found: _FURTHER + found[0], stream[begin : end.start()])
        parts += [stream[at:begin], scan, _FURTHER]
        at = end.start()
        if end[0].endswith(b"\xd9"):
            return b"".join([*parts, stream[at:]])
