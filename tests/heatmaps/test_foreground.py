import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msde.heatmaps.feature_maps import SIDE
from msde.heatmaps.foreground import foreground, resampled, tells


def scan(rng, size=224, background=0.0):
    """A noisy disc on an even ground, with a flat hole in it."""
    rows, columns = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    picture = np.full((size, size), background)
    disc = np.hypot(rows, columns) < 0.7
    picture[disc] = 0.5 + 0.1 * rng.normal(size=disc.sum())
    picture[np.hypot(rows, columns) < 0.2] = background
    return np.clip(picture, 0, 1).astype(np.float32)[None].repeat(3, axis=0)


@pytest.mark.parametrize("background", [0.0, 1.0])
@pytest.mark.parametrize("size", [224, 160, 518, 112])
def test_what_is_flat_and_joined_to_the_border_is_background(rng, size, background):
    (found,) = foreground(scan(rng, size, background)[None])
    rows, columns = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    radius = np.hypot(rows, columns)
    assert found[radius < 0.62].all()  # the hole too
    assert not found[radius > 0.8].any()


def test_noise_of_compression_is_background_still(rng):
    picture = scan(rng)
    noise = rng.integers(0, 4, picture.shape[1:]).astype(np.float32) / 255
    np.testing.assert_array_equal(foreground((picture + noise).clip(0, 1)[None]), foreground(picture[None]))


@pytest.mark.parametrize("size", [224, 56, 48, 33])
def test_an_image_that_fills_its_frame_has_no_background(rng, size):
    assert foreground(rng.random((2, 3, size, size), np.float32)).all()


def test_flat_places_of_another_brightness_than_the_border_are_none():
    halves = np.zeros((1, 3, 224, 224), np.float32)
    halves[..., 150:] = 0.8
    (found,) = foreground(halves)
    assert found[:, 38:].all()
    assert not found[:, :37].any()


def test_an_image_does_not_depend_on_those_beside_it(rng):
    images = np.stack([scan(rng), rng.random((3, 224, 224), np.float32), scan(rng, background=1.0)])
    together = foreground(images)
    for image, mask in zip(images, together, strict=True):
        np.testing.assert_array_equal(foreground(image[None])[0], mask)


@given(st.integers(1, 64), st.integers(1, 64))
def test_a_mask_goes_to_any_grid_and_keeps_its_halves(height, width):
    mask = np.zeros((1, SIDE, SIDE), np.bool_)
    mask[:, : SIDE // 2] = True
    (found,) = resampled(mask, (height, width))
    assert found.shape == (height, width)
    assert found[: height // 2].all()
    assert not found[-(height // 2) :].any() or height == 1
    assert (found == found[:, :1]).all()


def test_a_place_that_sees_anything_is_no_background():
    mask = np.zeros((1, SIDE, SIDE), np.bool_)
    mask[0, 13, 13] = True
    found = resampled(mask, (7, 7))[0]
    assert found.sum() == 1
    assert found[1, 1]


def test_little_background_is_not_told_apart():
    masks = np.ones((9, SIDE, SIDE), np.bool_)
    assert not tells(masks)
    masks[:4] = False
    assert not tells(masks)
    masks[:5, :20] = False
    assert tells(masks)
