from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from msde.errors import ImageError
from msde.images.intensity import array_samples, to_pixels
from msde.images.rule import LEGACY_RULE, ImageRule
from msde.images.samples import Samples

from .pictures import gray_ramp, rgb_ramp


def pixels_of(values: NDArray[Any], rule: ImageRule = LEGACY_RULE) -> NDArray[np.float32]:
    return to_pixels(array_samples(values, "array"), rule, "array")


@given(hnp.arrays(np.uint8, (8, 9)))
def test_equal_pictures_of_every_type_give_equal_bits(picture: NDArray[np.uint8]) -> None:
    expected = pixels_of(picture)
    assert expected.dtype == np.float32
    wide = picture.astype(np.uint16) * 257
    floats = picture / 255
    for same in (wide, wide.astype(">u2"), floats, floats.astype(np.float32), floats.astype(np.longdouble)):
        np.testing.assert_array_equal(pixels_of(same), expected)


@given(hnp.arrays(np.uint16, (8, 8, 3)))
def test_pixels_lie_in_the_unit_range_and_keep_order(picture: NDArray[np.uint16]) -> None:
    pixels = pixels_of(picture)
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    np.testing.assert_array_equal(
        np.argsort(pixels, axis=None, kind="stable"), np.argsort(picture, axis=None, kind="stable")
    )


def test_ends_of_the_range_are_black_and_white() -> None:
    for dtype, white in ((np.bool_, True), (np.uint8, 255), (np.uint16, 65535), (np.float16, 1), (np.float64, 1)):
        picture = np.zeros((8, 8), dtype)
        picture[0] = white
        assert pixels_of(picture)[0].tolist() == [1.0] * 8
        assert pixels_of(picture)[1:].max() == 0


def test_shapes_become_gray_or_rgb() -> None:
    gray, rgb = gray_ramp(), rgb_ramp()
    np.testing.assert_array_equal(pixels_of(gray[..., None]), pixels_of(gray))
    opaque = np.full((*gray.shape, 1), 255, np.uint8)
    np.testing.assert_array_equal(pixels_of(np.dstack([gray, opaque])), pixels_of(gray))
    np.testing.assert_array_equal(pixels_of(np.dstack([rgb, opaque])), pixels_of(rgb))


@given(st.integers(0, 255), st.integers(0, 255))
def test_alpha_is_composited_over_black(value: int, alpha: int) -> None:
    picture = np.full((8, 8, 4), value, np.uint8)
    picture[..., 3] = alpha
    np.testing.assert_allclose(pixels_of(picture), value * alpha / 255**2, atol=1e-7)


def test_white_stored_as_zero_is_inverted() -> None:
    picture = gray_ramp().astype(np.uint16)
    np.testing.assert_array_equal(
        to_pixels(Samples(picture, 4095.0, 0.0), LEGACY_RULE, "a"), pixels_of((4095 - picture) / 4095)
    )


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", "u4", "u8", "c16", "O", "U3", "M8[s]"])
def test_types_without_a_stated_range_are_refused(dtype: str) -> None:
    with pytest.raises(ImageError, match="^array: samples of type .*; give uint8, uint16 or floats"):
        pixels_of(np.zeros((8, 8), dtype))


@pytest.mark.parametrize("shape", [(), (64,), (3, 24, 24), (24, 24, 5), (24, 24, 0), (2, 8, 8, 3)])
def test_shapes_that_are_no_image_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match=r"^array: is no image; give \(height, width\)"):
        pixels_of(np.zeros(shape))


@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (7, 100), (100, 7, 3)])
def test_tiny_arrays_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match="too small"):
        pixels_of(np.zeros(shape))


@pytest.mark.parametrize(
    ("value", "said"),
    [(np.nan, "NaN"), (np.inf, "infinite"), (-np.inf, "infinite"), (-1e-3, "outside"), (255.0, "outside")],
)
def test_floats_must_be_finite_and_in_the_unit_range(value: float, said: str) -> None:
    picture = np.full((8, 8), 0.5)
    picture[3, 4] = value
    with pytest.raises(ImageError, match=f"{said}.*; (replace|divide)"):
        pixels_of(picture)


@given(hnp.arrays(np.uint8, (8, 9)), st.sampled_from(["percentile", "full-range", "dicom"]))
def test_rules_give_equal_bits_for_equal_pictures(picture: NDArray[np.uint8], rule: str) -> None:
    expected = pixels_of(picture, ImageRule(rule))
    np.testing.assert_array_equal(pixels_of(picture.astype(np.uint16) * 257, ImageRule(rule)), expected)
    if rule == "percentile":
        for same in (picture.astype(np.int16) - 300, picture.astype(np.int64), picture.astype(np.float32)):
            np.testing.assert_array_equal(pixels_of(same, ImageRule(rule)), expected)


@given(hnp.arrays(np.int16, (8, 8)), st.floats(-4e4, 4e4), st.floats(0.5, 6e4))
def test_a_window_maps_its_ends_to_black_and_white(values: NDArray[np.int16], low: float, width: float) -> None:
    pixels = pixels_of(values, ImageRule(f"window:{low},{low + width}"))
    np.testing.assert_allclose(pixels, np.clip((values - low) / width, 0, 1), atol=1e-2 if width < 9 else 2e-3)
    assert (pixels[values <= low - 1] == 0).all()
    assert (pixels[values >= low + width + 1] == 1).all()


def test_percentiles_use_what_is_there_of_twelve_bits_in_sixteen() -> None:
    picture = gray_ramp().astype(np.uint16)
    assert pixels_of(picture).max() < 0.01
    assert pixels_of(picture, ImageRule("percentile")).max() == 1


def test_gray_in_three_channels_has_the_percentiles_of_gray() -> None:
    gray = gray_ramp()
    colour = pixels_of(np.dstack([gray] * 3), ImageRule("percentile"))
    np.testing.assert_array_equal(colour[..., 0], pixels_of(gray, ImageRule("percentile")))


def test_alpha_is_no_part_of_the_percentiles() -> None:
    gray, rule = gray_ramp(), ImageRule("percentile")
    opaque = np.full(gray.shape, 255, np.uint8)
    np.testing.assert_array_equal(pixels_of(np.dstack([gray, opaque]), rule), pixels_of(gray, rule))


@pytest.mark.parametrize("rule", ["percentile", "window:7,8", "full-range", "dicom"])
def test_an_even_picture_is_even(rule: str) -> None:
    assert np.ptp(pixels_of(np.full((8, 8), 7, np.uint8), ImageRule(rule))) == 0


def test_what_is_not_finite_is_refused_by_every_rule() -> None:
    picture = np.full((8, 8), np.nan)
    for rule in ("percentile", "window:0,1", "full-range", "dicom"):
        with pytest.raises(ImageError, match="NaN"):
            pixels_of(picture, ImageRule(rule))
