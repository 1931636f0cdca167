"""Pictures that are the same or nearly so: equal samples, or equal brightness differences between coarse fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from msde.method.parallel import for_blocks

SIDE = 24
MIN_CORRELATION = 0.88
"""From which on two pictures are alike: recompression, noise, half the size and another gamma stay above it."""
_FEW = 10
"""Where there are many more pictures than this, what they have in common does not make any two of them alike."""
_BLOCK = 512
_TINY = 1e-6


class Likeness(NamedTuple):
    """What is kept of a picture to find its like.

    The gradient is a difference hash in which strong edges, such as the border of a fundus, do not drown the rest.
    """

    digest: bytes  # the same for the same samples
    # (1058,), float16, of length 1: differences between the neighbours of 24 x 24 fields, across and down, as signed
    # square roots
    gradient: NDArray[np.float16]


class Pair(NamedTuple):
    """Rows of two pictures that are alike, how much (1 at most), and whether their samples are equal."""

    first: int
    second: int
    correlation: float
    identical: bool


def likeness(gray: NDArray[np.float32], digest: bytes) -> Likeness:
    """Return what is kept of a picture of shape (H, W)."""
    from PIL import Image

    fields = np.asarray(Image.fromarray(gray).resize((SIDE, SIDE), Image.Resampling.BOX))
    steps = np.concatenate([np.diff(fields, axis=1)[:-1].ravel(), np.diff(fields, axis=0)[:, :-1].ravel()])
    return Likeness(digest, _unit(np.sign(steps) * np.sqrt(np.abs(steps))).astype(np.float16))


def alike(first: Sequence[Likeness], second: Sequence[Likeness]) -> list[Pair]:
    """Find for each picture of the first row, in order, the most similar one of the second, if one is alike.

    Equal samples are alike whatever they show. Takes one matrix product of n x 1058 by 1058 x m.
    """
    if not first or not second:
        return []
    rows, others = (np.stack([image.gradient for image in part]).astype(np.float32) for part in (first, second))
    common = (rows.sum(axis=0) + others.sum(axis=0)) / (len(rows) + len(others) + _FEW)
    rows, others = _unit(rows - common), _unit(others - common)
    nearest, correlation = np.zeros(len(rows), np.intp), np.zeros(len(rows), np.float32)

    def compare(block: slice) -> None:
        products = rows[block] @ others.T
        nearest[block] = products.argmax(axis=1)
        correlation[block] = products.max(axis=1)

    for_blocks(compare, len(rows), _BLOCK)
    known = {image.digest: number for number, image in reversed(list(enumerate(second)))}
    pairs = []
    for number, image in enumerate(first):
        if image.digest in known:
            pairs.append(Pair(number, known[image.digest], 1.0, True))
        elif correlation[number] >= MIN_CORRELATION:
            pairs.append(Pair(number, int(nearest[number]), float(correlation[number]), False))
    return pairs


def _unit(gradients: NDArray[np.float32]) -> NDArray[np.float32]:
    return gradients / np.maximum(np.linalg.norm(gradients, axis=-1, keepdims=True), _TINY)
