"""What is wrong with a mask: its size, its values, or that it shows nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from msde.errors import ImageError
from msde.images.files import decode_file

VALUES = frozenset({0, 255})


def read_mask(path: Path) -> NDArray[np.generic] | None:
    """Read the samples of a mask; None where it cannot be read."""
    try:
        return decode_file(path, str(path)).values
    except ImageError:
        return None


def fault(mask: NDArray[np.generic] | None, width: int, height: int) -> str | None:
    """Return the fault of a mask for an image of width x height pixels, one of a few phrases that can be counted.

    None for a mask of values 0 and 255 of the image's size that shows something.
    """
    if mask is None:
        return "cannot be read"
    if mask.shape[:2] != (height, width):
        return "have another size than their image"
    found = set(np.unique(mask).tolist())
    if mask.dtype != np.bool_ and not found <= VALUES:
        return "hold other values than 0 and 255"
    return None if any(found) else "show nothing"
