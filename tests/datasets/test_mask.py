import numpy as np
import pytest
from PIL import Image
from tests.datasets.layouts import write_mask

from msde.datasets.mask import fault, read_mask


@pytest.mark.parametrize(
    ("value", "side", "said"),
    [
        (255, 64, None),
        (1, 64, "hold other values than 0 and 255"),
        (128, 64, "hold other values than 0 and 255"),
        (0, 64, "show nothing"),
        (255, 32, "have another size than their image"),
    ],
)
def test_faults(tmp_path, value, side, said):
    assert fault(read_mask(write_mask(tmp_path / "m.png", value, side)), 64, 64) == said


def test_a_mask_of_one_bit_is_sound(tmp_path):
    Image.fromarray(np.eye(64, dtype=bool)).save(tmp_path / "m.png")
    assert fault(read_mask(tmp_path / "m.png"), 64, 64) is None


def test_no_picture(tmp_path):
    (tmp_path / "m.png").write_bytes(b"no picture")
    assert fault(read_mask(tmp_path / "m.png"), 64, 64) == "cannot be read"
