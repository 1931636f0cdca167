"""Pictures turned as their EXIF or TIFF orientation asks."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

# Orientation -> (swap the axes, flip rows, flip columns), applied in this order.
_ORIENTATION = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def upright(values: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn values of shape (H, W) or (H, W, C); numbers that are no orientation ask for nothing."""
    swap, flip_rows, flip_columns = _ORIENTATION.get(orientation, (False, False, False))
    if swap:
        values = values.swapaxes(0, 1)
    return values[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]
