"""What a kept file shows: the same as another, such as one that an archive has packed otherwise, or anything at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from msde.errors import ImageError
from msde.images.files import decode_file, look_into


def is_readable(path: Path) -> bool:
    """Whether all frames of a file can be decoded."""
    try:
        contents = look_into(path, "an image")
        for part in (contents.parts if contents else ()) or (None,):
            decode_file(path, "an image", part)
    except ImageError:
        return False
    return True


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
