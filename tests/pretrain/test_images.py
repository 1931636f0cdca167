import numpy as np
import pytest
from tests.pictures import write_discs

from msde.errors import DataError
from msde.images import find_images
from msde.pretrain.images import read_normals


@pytest.fixture
def folder(tmp_path):
    return write_discs(tmp_path / "normals", 15)


def test_a_fifth_is_held_out(folder):
    ticks = []
    normals = read_normals(find_images([folder]), 32, 0, lambda: ticks.append(1))
    assert len(ticks) == 15
    assert normals.pixels.shape == (15, 3, 32, 32)
    assert normals.pixels.dtype == np.uint8
    assert normals.anatomy.shape == (15, 32, 32)
    assert len(normals.held_out) == 3
    assert sorted([*normals.learning, *normals.held_out]) == list(range(15))
    images = normals.images(normals.held_out)
    assert images.dtype == np.float32
    assert 0 <= images.min() <= images.max() <= 1


def test_the_seed_draws_the_held_out(folder):
    paths = find_images([folder])
    draws = [tuple(read_normals(paths, 32, seed).held_out) for seed in (0, 0, 1, 2)]
    assert draws[0] == draws[1]
    assert len(set(draws)) > 1


def test_unreadable_images_are_told_and_left_out(folder):
    (folder / "bad.png").write_bytes(b"no image")
    normals = read_normals(find_images([folder]), 32, 0)
    assert len(normals.pixels) == 15
    assert len(normals.errors) == 1
    assert "bad.png" in normals.errors[0]


@pytest.mark.parametrize("count", [1, 9])
def test_few_images_are_refused(folder, count):
    with pytest.raises(DataError, match=f"^{count} normal images .* give 10 or more$"):
        read_normals(find_images([folder])[:count], 32, 0)


def test_images_of_which_none_can_be_read_are_refused(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="bad.png"):
        read_normals([tmp_path / "bad.png"], 32, 0)
