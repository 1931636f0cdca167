from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image

from msde.images import read_pixels, to_input

sides = st.integers(8, 40)
pictures = st.one_of(
    hnp.arrays(np.uint8, st.tuples(sides, sides)), hnp.arrays(np.uint8, st.tuples(sides, sides, st.just(3)))
)


def reference(plane: NDArray[np.float32], size: int) -> NDArray[np.float64]:
    """Give the separable triangle filter, widened when shrinking, as two matrix products."""

    def weights(n: int) -> NDArray[np.float64]:
        scale = n / size
        centres = (np.arange(size) + 0.5) * scale
        reach = abs(np.arange(n) + 0.5 - centres[:, None]) / max(scale, 1)
        rows = np.clip(1 - reach, 0, None)
        return rows / rows.sum(axis=1, keepdims=True)

    return weights(plane.shape[0]) @ plane.astype(np.float64) @ weights(plane.shape[1]).T


@given(pictures, st.integers(1, 48))
def test_equals_the_antialiased_triangle_filter(picture: NDArray[np.uint8], size: int) -> None:
    pixels = read_pixels(picture)
    made = to_input(pixels, size)
    assert made.shape == (3, size, size)
    assert made.dtype == np.float32
    assert made.flags.c_contiguous
    assert made.min() >= 0
    assert made.max() <= 1
    for channel in range(3):
        plane = pixels if pixels.ndim == 2 else pixels[..., channel]
        np.testing.assert_allclose(made[channel], reference(plane, size), atol=1e-6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pictures)
def test_path_and_arrays_of_every_type_give_the_same_input(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    path = tmp_path / "scan.png"
    Image.fromarray(picture).save(path)
    expected = to_input(read_pixels(picture), 16)
    for same in (path, picture.astype(np.uint16) * 257, picture / 255, (picture / 255).astype(np.float32)):
        np.testing.assert_array_equal(to_input(read_pixels(same), 16), expected)


@given(hnp.arrays(np.uint8, st.tuples(sides, sides)))
def test_gray_equals_the_same_picture_in_colour(picture: NDArray[np.uint8]) -> None:
    colour = np.repeat(picture[..., None], 3, axis=2)
    np.testing.assert_array_equal(to_input(read_pixels(picture), 16), to_input(read_pixels(colour), 16))


@pytest.mark.parametrize("shape", [(30, 20), (30, 20, 3)])
def test_writes_into_a_row_of_a_batch(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).random(shape, dtype=np.float32)
    batch = np.full((2, 3, 16, 16), -1, np.float32)
    made = to_input(pixels, 16, out=batch[1])
    assert np.shares_memory(made, batch)
    np.testing.assert_array_equal(batch[1], to_input(pixels, 16))
    assert (batch[0] == -1).all()


def test_the_same_size_is_left_alone() -> None:
    pixels = np.random.default_rng(0).random((16, 16, 3), dtype=np.float32)
    np.testing.assert_array_equal(to_input(pixels, 16), pixels.transpose(2, 0, 1))


@given(pictures, st.integers(1, 48))
def test_letterbox_keeps_proportions_between_black_bars(picture: NDArray[np.uint8], size: int) -> None:
    pixels = read_pixels(picture)
    made = to_input(pixels, size, np.full((3, size, size), -1, np.float32), aspect="letterbox")
    height, width = (max(1, round(side * size / max(pixels.shape[:2]))) for side in pixels.shape[:2])
    top, left = (size - height) // 2, (size - width) // 2
    inside = np.zeros((size, size), bool)
    inside[top : top + height, left : left + width] = True
    assert (made[:, ~inside] == 0).all()
    for channel in range(3):
        plane = pixels if pixels.ndim == 2 else pixels[..., channel]
        shrunk = np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR))
        np.testing.assert_array_equal(made[channel][inside], shrunk.ravel())


def test_a_square_is_the_same_either_way() -> None:
    pixels = np.random.default_rng(0).random((40, 40, 3), dtype=np.float32)
    np.testing.assert_array_equal(to_input(pixels, 16, aspect="letterbox"), to_input(pixels, 16))
