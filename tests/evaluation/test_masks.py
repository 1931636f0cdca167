import numpy as np
import pytest
from PIL import Image

from msde.errors import DataError
from msde.evaluation.masks import Masks


def save(path, values):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(values).save(path)
    return path


@pytest.fixture
def marked():
    mask = np.zeros((12, 10), bool)
    mask[2:5, 3:7] = True
    return mask


@pytest.mark.parametrize("value", [1, 255])
def test_masks_are_found_by_stem(tmp_path, marked, value):
    save(tmp_path / "masks" / "a.png", marked.astype(np.uint8) * value)
    masks = Masks([tmp_path / "masks"], [tmp_path / "a.jpg", tmp_path / "b.jpg"])
    np.testing.assert_array_equal(masks.of(str(tmp_path / "a.jpg"), (12, 10)), marked)
    assert masks.of(str(tmp_path / "b.jpg"), (12, 10)) is None


def test_a_colour_mask_is_one(tmp_path, marked):
    save(tmp_path / "masks" / "a.png", (marked[..., None] * [255, 0, 0]).astype(np.uint8))
    masks = Masks([tmp_path / "masks"], [tmp_path / "a.png"])
    np.testing.assert_array_equal(masks.of("a.png", (12, 10)), marked)


def test_a_mask_of_another_size_is_refused(tmp_path, marked):
    save(tmp_path / "masks" / "a.png", marked.astype(np.uint8))
    masks = Masks([tmp_path / "masks"], [tmp_path / "a.png"])
    with pytest.raises(DataError, match=r"a\.png: has 10 x 12 pixels but 20 x 24 pixels in its image"):
        masks.of("a.png", (24, 20))


def test_a_picture_is_no_mask(tmp_path, rng):
    save(tmp_path / "masks" / "a.png", rng.integers(0, 255, (12, 10), dtype=np.uint8))
    with pytest.raises(DataError, match="more than two values"):
        Masks([tmp_path / "masks"], [tmp_path / "a.png"]).of("a.png", (12, 10))


def test_two_images_of_one_stem_are_refused(tmp_path, marked):
    save(tmp_path / "masks" / "a.png", marked.astype(np.uint8))
    with pytest.raises(DataError, match=r"b/a\.png: has the stem of .*a/a\.png"):
        Masks([tmp_path / "masks"], [tmp_path / "a" / "a.png", tmp_path / "b" / "a.png"])


def test_masks_of_other_images_are_refused(tmp_path, marked):
    save(tmp_path / "masks" / "x.png", marked.astype(np.uint8))
    with pytest.raises(DataError, match="no abnormal image has a mask"):
        Masks([tmp_path / "masks"], [tmp_path / "a.png"])
