"""How long to wait before what has failed is tried again."""

from __future__ import annotations

from datetime import timedelta

_DOUBLINGS = 30  # beyond which no pause is shorter than the longest, and a float would overflow in the end


def pause(failures: int, first: timedelta, longest: timedelta) -> timedelta:
    """Compute the wait after so many failures in a row, at least 1: doubled with each, and at most `longest`.

    Examples
    --------
    >>> [pause(n, timedelta(minutes=1), timedelta(hours=1)).seconds // 60 for n in (1, 2, 3, 99)]
    [1, 2, 4, 60]
    """
    return min(longest, first * 2 ** min(failures - 1, _DOUBLINGS))
