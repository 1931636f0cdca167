import numpy as np
import pytest
from PIL import Image
from tests.pictures import disc

from msde.errors import DataError
from msde.images import find_images
from msde.model.nearest_normals import SHOWN, NearestNormals


def test_the_nearest_normal_of_a_slightly_changed_one_is_that_one(model, train, tmp_path, rng):
    sources = find_images([train])
    normals = NearestNormals.embed(model, sources)
    with Image.open(sources[7]) as image:
        pixels = np.asarray(image).astype(int) + rng.integers(-1, 2, size=(64, 64))
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(tmp_path / "changed.png")
    nearest = normals.nearest(next(iter(model.embed(tmp_path / "changed.png"))))
    assert nearest[0] == 7
    assert len(set(nearest)) == SHOWN


def test_an_image_is_not_compared_with_itself(model, train):
    normals = NearestNormals.embed(model, find_images([train]))
    nearest = normals.nearest(next(iter(model.embed(train / "007.png"))))
    assert 7 not in nearest
    assert len(nearest) == SHOWN


def test_copies_and_what_cannot_be_read_are_left_out(model, tmp_path, rng):
    for name in ("a.png", "copy.png"):
        Image.fromarray(disc(np.random.default_rng(0))).save(tmp_path / name)
    (tmp_path / "bad.png").write_bytes(b"no image")
    normals = NearestNormals.embed(model, find_images([tmp_path]))
    assert [source.name for source in normals.sources] == ["a.png"]
    assert ["bad.png" in error for error in normals.errors] == [True]


def test_no_usable_normal_is_one_line(model, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"none of the normals.*bad\.png"):
        NearestNormals.embed(model, find_images([tmp_path]))
