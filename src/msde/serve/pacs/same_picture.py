"""Whether two files show the same picture, such as one that an archive has packed otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from msde.errors import ImageError
from msde.images.files import decode_file, look_into


def same_picture(one: Path, other: Path) -> bool:
    """Whether two files have the same frames, value by value; False where one cannot be read."""
    try:
        contents = [look_into(path, "an image") for path in (one, other)]
        if contents[0] is None or contents[1] is None or contents[0].parts != contents[1].parts:
            return False
        for part in contents[0].parts or (None,):
            first, second = (decode_file(path, "an image", part).values for path in (one, other))
            if not np.array_equal(first, second, equal_nan=first.dtype.kind == second.dtype.kind == "f"):
                return False
    except ImageError:
        return False
    return True
