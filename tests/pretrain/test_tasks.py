import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msde.pretrain.tasks import AREA, KINDS, TASKS, anatpaste, cutpaste, jittered, scar, side_lengths

SIDES = st.tuples(st.integers(32, 90), st.integers(32, 90))


def picture(shape, seed=0):
    return np.random.default_rng(seed).random((3, *shape), np.float32)


def share_changed(before, after):
    return (before != after).any(axis=0).mean()


@pytest.mark.parametrize("kind", KINDS)
@given(shape=SIDES, seed=st.integers(0, 10_000))
def test_anomalies_are_images_and_leave_their_image_alone(kind, shape, seed):
    image, anatomy = picture(shape, seed), np.ones(shape, bool)
    before = image.copy()
    changed = kind(image, anatomy, np.random.default_rng(seed))
    assert changed.shape == image.shape
    assert changed.dtype == np.float32
    assert changed.min() >= -1e-6
    assert changed.max() <= 1 + 1e-6
    assert (image == before).all()
    assert 0 < share_changed(image, changed) < 1
    assert (kind(image, anatomy, np.random.default_rng(seed)) == changed).all()


@given(shape=SIDES, seed=st.integers(0, 10_000))
def test_sides_keep_the_stated_area(shape, seed):
    height, width = side_lengths(shape, np.random.default_rng(seed))
    assert 1 <= height <= shape[0]
    assert 1 <= width <= shape[1]
    assert AREA[0] / 2 < height * width / (shape[0] * shape[1]) < AREA[1] * 1.3


@given(seed=st.integers(0, 10_000))
def test_anatpaste_stays_inside_the_anatomy(seed):
    anatomy = np.zeros((64, 64), bool)
    anatomy[20:44, 16:50] = True
    image = picture((64, 64), seed)
    changed = anatpaste(image, anatomy, np.random.default_rng(seed))
    assert (changed[:, ~anatomy] == image[:, ~anatomy]).all()


def test_anatpaste_goes_anywhere_where_there_is_no_anatomy():
    image, nothing = picture((64, 64)), np.zeros((64, 64), bool)
    assert share_changed(image, anatpaste(image, nothing, np.random.default_rng(1))) > 0.01


def test_anatpaste_is_softer_than_cutpaste(real):
    """Pastes inside the anatomy have no hard seams, on average."""
    images = real("nih_cxr_pneumonia", 8)
    anatomy = np.ones(images[0].shape[1:], bool)

    def steepest(kind):
        rng = np.random.default_rng(3)
        return np.mean([np.abs(np.diff(kind(i, anatomy, rng) - i, axis=2)).max() for i in images for _ in range(5)])

    assert steepest(anatpaste) < steepest(cutpaste)


def test_scars_are_small(rng):
    image, anatomy = picture((256, 256)), np.ones((256, 256), bool)
    shares = [share_changed(image, scar(image, anatomy, rng)) for _ in range(50)]
    assert max(shares) < 0.012  # 16 x 25 px turned, with the halves of its border pixels


def test_jitter_is_small_and_keeps_gray_gray(rng):
    gray = np.stack([rng.random((40, 40), np.float32) * 0.6 + 0.2] * 3)
    changed = jittered(gray, rng)
    assert np.abs(changed - gray).max() < 0.25
    assert np.ptp(changed, axis=0).max() < 1e-6


def test_every_task_is_of_known_kinds_and_leaves_one_for_the_choice():
    assert set(TASKS) == {"anatpaste", "cutpaste", "cutpaste-scar", "cutpaste-3way"}
    for kinds in TASKS.values():
        assert set(kinds) < set(KINDS)
