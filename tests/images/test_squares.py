"""Pictures that are read and fitted in one go, large ones some rows at a time."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from msde.errors import ImageError
from msde.images import ImageRule, read_pixels, read_squares, squares, to_input
from msde.images.room import PixelRoom

RULES = [ImageRule(), ImageRule("percentile", "letterbox"), ImageRule("window:20,200")]


def plainly(picture: np.ndarray, rule: ImageRule, sizes: tuple[int, ...]) -> tuple[list[np.ndarray], float]:
    pixels = read_pixels(picture, rule)
    return [to_input(pixels, size, aspect=rule.aspect) for size in sizes], float(pixels.max())


@pytest.mark.parametrize("at_once", [1, squares.AT_ONCE], ids=["in bands", "at once"])
@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("shape", [(300, 290), (240, 301, 3), (200, 330, 4), (224, 224)], ids=str)
def test_squares_are_those_of_the_whole_picture_to_the_last_bit(
    shape: tuple[int, ...], rule: ImageRule, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(squares, "AT_ONCE", at_once)
    monkeypatch.setattr(squares, "BAND", 7 * shape[1])
    picture = np.random.default_rng(0).integers(0, 250, shape, np.uint8)
    expected, peak = plainly(picture, rule, (100, 224))
    made = [np.full((3, size, size), -1, np.float32) for size in (100, 224)]
    assert read_squares(picture, made, rule) == (shape[:2], peak)
    for square, plain in zip(made, expected, strict=True):
        np.testing.assert_array_equal(square, plain)


def test_a_high_picture_differs_by_its_last_bits_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(squares, "AT_ONCE", 1)
    picture = np.random.default_rng(0).integers(0, 256, (900, 200), np.uint8)
    square = np.empty((3, 48, 48), np.float32)
    read_squares(picture, [square], ImageRule())
    np.testing.assert_allclose(square, to_input(read_pixels(picture), 48), rtol=0, atol=2e-7)


@pytest.mark.parametrize("source", [np.full((3000, 2000), np.nan), np.zeros((3, 3)), "missing.png"], ids=str)
def test_what_is_no_picture_is_refused_as_by_read_pixels(source: Any) -> None:
    with pytest.raises(ImageError) as plain:
        read_pixels(source)
    with pytest.raises(ImageError) as found:
        read_squares(source, [np.empty((3, 16, 16), np.float32)], ImageRule())
    assert str(found.value) == str(plain.value)


def test_room_is_given_back_after_an_error_and_a_success(monkeypatch: pytest.MonkeyPatch) -> None:
    room = PixelRoom(100)  # of its own, because what other tests have left running may read images
    monkeypatch.setattr(squares, "ROOM", room)
    with PixelRoom(1).admitting():  # which counts it, so that the other room does not
        read_squares(np.zeros((8, 8)), [np.empty((3, 16, 16), np.float32)], ImageRule())
        assert room._taken == 0
    for picture in (np.full((8, 8), 2.0), np.zeros((8, 8))):
        with suppress(ImageError):
            read_squares(picture, [np.empty((3, 16, 16), np.float32)], ImageRule())
    assert room._taken == 0
