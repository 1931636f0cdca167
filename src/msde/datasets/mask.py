"""What is wrong with a mask: its size, its values, or that it shows nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from msde.errors import ImageError
from msde.images.files import decode_file

VALUES = frozenset({0, 255})


def fault(mask: Path, width: int, height: int) -> str | None:
    """Return the fault of a mask for an image of width x height pixels.

    Returns
    -------
    str or None
        One of a few phrases, so that faults can be counted; None for a mask of values 0 and 255 of the image's size
        that shows something.
    """
    try:
        values = decode_file(mask, str(mask)).values
    except ImageError:
        return "cannot be read"
    if values.shape[:2] != (height, width):
        return "have another size than their image"
    found = set(np.unique(values).tolist())
    if values.dtype != np.bool_ and not found <= VALUES:
        return "hold other values than 0 and 255"
    return None if any(found) else "show nothing"
