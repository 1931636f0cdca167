import numpy as np
import pytest
from PIL import Image

from msde.output.png import write_png


@pytest.mark.parametrize(
    "pixels",
    [
        np.arange(7 * 5 * 3, dtype=np.uint8).reshape(7, 5, 3) * 29,
        np.arange(300, dtype=np.uint16).reshape(12, 25) * 211,
        np.full((1, 1, 3), 255, np.uint8),
        np.arange(64, dtype=np.uint16).reshape(8, 8).T * 1023,
    ],
    ids=["RGB", "16 bits", "one pixel", "turned"],
)
def test_pillow_reads_what_was_written(pixels, tmp_path):
    write_png(tmp_path / "a.png", pixels)
    with Image.open(tmp_path / "a.png") as image:
        image.load()
        assert image.mode == ("RGB" if pixels.ndim == 3 else "I;16")
        np.testing.assert_array_equal(np.asarray(image), pixels)
