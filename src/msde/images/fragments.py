"""Compressed frames of a DICOM file: which pieces of the file each is in.

The pieces are found by their own lengths. A table of offsets that does not fit them is passed over, because writers get
it wrong.
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

import numpy as np

from msde.images.files import FaultError
from msde.images.remembered import remembering, state_of

_ITEM, _END = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)
_END_OF_IMAGE = b"\xff\xd9"

Piece = tuple[int, int]
"""Where a piece begins in the file, and its length in bytes."""


def frames_of(path: str, start: int, n: int, table: bytes) -> list[list[Piece]]:
    """Find the pieces of each frame.

    Parameters
    ----------
    path : str
        The file.
    start : int
        Where the first item of its pixel data begins.
    n : int
        Number of frames that the header states.
    table : bytes
        The extended table of offsets; empty where there is none.

    Returns
    -------
    list of list of (int, int)
        Fewer than `n` where the header states too many.

    Raises
    ------
    FaultError
        The file ends before the pieces do, or they cannot be told apart.
    """
    return _found(path, start, n, table, *state_of(path))


@remembering(8)  # the frames of one file are read one after the other
def _found(path: str, start: int, n: int, table: bytes, *_: int) -> list[list[Piece]]:
    with open(path, "rb") as file:
        file.seek(start)
        basic, *pieces = items(file)
        if n == 1:
            return [pieces]
        starts = np.frombuffer(table, "<u8") if table else np.frombuffer(read(file, [basic]), "<u4")
        frames = _by_starts(pieces, starts.tolist())
        if len(frames) == n == len(starts):
            return frames
        if len(pieces) <= n:
            return [[piece] for piece in pieces]
        return _by_ends(file, pieces, n)


def read(file: BinaryIO, pieces: list[Piece]) -> bytes:
    """Read the stream of a frame.

    Raises
    ------
    FaultError
        The file ends within it.
    """
    parts = []
    for start, length in pieces:
        file.seek(start)
        parts.append(file.read(length))
        if len(parts[-1]) < length:
            raise FaultError("the file ends early")
    return b"".join(parts)


def items(file: BinaryIO) -> list[Piece]:
    """List the items up to their delimiter, the table of offsets first, from where the file is.

    Raises
    ------
    FaultError
        The file ends before they do, or they are none.
    """
    found: list[Piece] = []
    while len(head := file.read(8)) == 8:
        kind, length = struct.unpack("<HH", head[:4]), struct.unpack("<I", head[4:])[0]
        if kind == _END and len(found) > 1:
            return found
        if kind != _ITEM:
            raise FaultError("it has no compressed frame" if kind == _END else "its compressed data are not in pieces")
        found.append((file.tell(), length))
        file.seek(length, os.SEEK_CUR)
    raise FaultError("the file ends early")


def _by_starts(pieces: list[Piece], starts: list[int]) -> list[list[Piece]]:
    """Gather the pieces from each start to the next, as far as the starts are in order and a piece is at each."""
    first = pieces[0][0]
    numbers = {start - first: number for number, (start, _) in enumerate(pieces)}
    cuts: list[int] = []
    for start in starts:
        if start not in numbers or numbers[start] < (cuts[-1] + 1 if cuts else 0) or (not cuts and start):
            break
        cuts.append(numbers[start])
    return [pieces[cut:after] for cut, after in zip(cuts, [*cuts[1:], len(pieces)], strict=False)]


def _by_ends(file: BinaryIO, pieces: list[Piece], n: int) -> list[list[Piece]]:
    """End a frame with each piece that ends as an image does."""
    frames: list[list[Piece]] = [[]]
    for start, length in pieces:
        frames[-1].append((start, length))
        file.seek(start + max(length - 8, 0))
        if file.read(min(length, 8)).rstrip(b"\0").endswith(_END_OF_IMAGE):
            frames.append([])
    frames = [frame for frame in frames if frame]
    if len(frames) != n:
        raise FaultError("its frames cannot be told apart")
    return frames
