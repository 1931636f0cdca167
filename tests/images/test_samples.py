from __future__ import annotations

import pytest

from msde.errors import ImageError
from msde.images.samples import MAX_PIXELS, MIN_SIDE, check_size


def test_the_limits_themselves_are_allowed() -> None:
    check_size(MIN_SIDE, MAX_PIXELS // MIN_SIDE, "scan.png")
    check_size(MAX_PIXELS // MIN_SIDE, MIN_SIDE, "scan.png")


@pytest.mark.parametrize(
    ("width", "height", "said"),
    [(1, 1, "too small"), (MIN_SIDE - 1, 500, "too small"), (500, MIN_SIDE - 1, "too small"), (20000, 20000, "limit")],
)
def test_sizes_outside_the_limits_are_refused(width: int, height: int, said: str) -> None:
    with pytest.raises(ImageError, match=rf"^scan\.png: {width} x {height} px .*{said}.*; .+$"):
        check_size(width, height, "scan.png")
