"""Samples as a decoder hands them over, and the limits on an image's size."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from msde.errors import ImageError

MAX_PIXELS = 100_000_000
"""Pixels an image may have; checked in the header, before anything is decoded."""
MIN_SIDE = 8
"""Pixels that each side of an image must have: nothing can be seen in less."""
admission: ContextVar[Callable[[int], object] | None] = ContextVar("admission", default=None)
"""Where it is set, it is called with how many pixels an image has before they are decoded; it may wait for memory."""

Ends = tuple[NDArray[Any], float, float]
"""Values with the lower and the upper end of what is shown of them."""


Display = Callable[[NDArray[Any]], Ends]
"""How a file asks to be shown."""


class Samples(NamedTuple):
    """Samples as stored, and the range which their type states.

    Parameters
    ----------
    values : ndarray of shape (H, W) or (H, W, C), C in 1..4, bool, integer or float
        In the file's own unit, such as Hounsfield units. C = 2 and 4 carry alpha in the last channel.
    black, white : float
        The ends of the range that the type states, which are infinite where it states none; ``black`` is the larger
        where white is stored as the lowest value.
    display : callable, optional
        How the file asks to be shown: takes values, gives them (or what a table makes of them) with the ends of the
        range to show. By default all of the range.
    background : ndarray of shape (H, W), bool, optional
        Pixels that are no part of the picture, such as a scanner's padding: they decide nothing and become black. By
        default all are picture.
    """

    values: NDArray[Any]
    black: float
    white: float
    display: Display | None = None
    background: NDArray[np.bool_] | None = None

    def seen(self) -> NDArray[Any]:
        """Return the values without those of the background."""
        return self.values if self.background is None else self.values[~self.background]


def check_size(width: int, height: int, name: str) -> None:
    """Refuse an image with more than `MAX_PIXELS` pixels or a side under `MIN_SIDE`.

    Raises
    ------
    ImageError
        The size is outside the limits.
    """
    size = f"{name}: {width} x {height} px"
    if min(width, height) < MIN_SIDE:
        raise ImageError(f"{size} is too small to show anything; each side needs at least {MIN_SIDE} px")
    if width * height > MAX_PIXELS:
        raise ImageError(f"{size} is over the limit of {MAX_PIXELS:,} pixels; scale it down or cut it into tiles")
    if admit := admission.get():
        admit(width * height)


def side_of_squares(width: int, height: int, at_most: int) -> int:
    """Return the side of the squares of pixels that become one each, so that a picture has at most so many."""
    return max(1, math.ceil(math.sqrt(width * height / at_most)))
