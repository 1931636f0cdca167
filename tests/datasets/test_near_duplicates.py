"""The same picture is found again after what archives do to pictures; other pictures are not taken for it."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.pictures import brains

from msde.datasets.near_duplicates import MIN_CORRELATION, alike, likeness
from msde.images import read_pixels


def gray(image):
    pixels = read_pixels(image)
    return np.ascontiguousarray(pixels if pixels.ndim == 2 else pixels.mean(axis=2))


def recompressed(pixels):
    file = io.BytesIO()
    Image.fromarray(np.uint8(pixels * 255)).save(file, "JPEG", quality=40)
    return np.asarray(Image.open(file)).astype(np.float32) / 255


def halved(pixels):
    height, width = pixels.shape
    return np.asarray(Image.fromarray(pixels).resize((width // 2, height // 2), Image.Resampling.BILINEAR))


CHANGES = {
    "recompressed": recompressed,
    "halved": halved,
    "gamma": lambda pixels: pixels**0.7,
    "noisy": lambda pixels: pixels + np.random.default_rng(0).normal(0, 0.02, pixels.shape).astype(np.float32),
    "dimmed": lambda pixels: pixels * 0.8,
}


@pytest.fixture(scope="module", params=["brains", pytest.param("chests", marks=pytest.mark.shared)])
def patients(request):
    if request.param == "brains":
        return [gray(scan) for scan in brains(20)]
    folder = request.getfixturevalue("shared") / "data/nih_cxr_pneumonia/train/normal"
    return [gray(path) for path in sorted(folder.iterdir())[:60]]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found(patients, change):
    known = [likeness(pixels, bytes([number])) for number, pixels in enumerate(patients)]
    copies = [likeness(CHANGES[change](pixels), b"other") for pixels in patients]
    pairs = alike(copies, known)
    assert [(pair.first, pair.second, pair.identical) for pair in pairs] == [
        (k, k, False) for k in range(len(patients))
    ]
    assert all(MIN_CORRELATION <= pair.correlation <= 1.001 for pair in pairs)


def test_patients_are_not_taken_for_each_other(patients):
    kept = [likeness(pixels, bytes([number])) for number, pixels in enumerate(patients)]
    assert alike(kept[: len(kept) // 2], kept[len(kept) // 2 :]) == []


def test_equal_samples_are_identical_even_without_content():
    flat = np.zeros((40, 40), np.float32)
    pairs = alike([likeness(flat, b"a"), likeness(flat, b"b")], [likeness(flat, b"b"), likeness(flat, b"b")])
    assert [(pair.first, pair.second, pair.identical) for pair in pairs] == [(1, 0, True)]


def test_nothing_is_like_nothing():
    one = [likeness(np.eye(30, dtype=np.float32), b"")]
    assert alike([], one) == alike(one, []) == []


@given(st.integers(0, 2**32 - 1), st.integers(1, 700), st.integers(1, 40))
@settings(max_examples=20)
def test_copies_are_found_in_any_order(seed, n_first, n_second):
    rng = np.random.default_rng(seed)
    images = [likeness(rng.random((24, 24), dtype=np.float32), bytes([number])) for number in range(n_second)]
    chosen = rng.integers(0, n_second, n_first)
    pairs = alike([images[number] for number in chosen], images)
    assert [pair.second for pair in pairs] == chosen.tolist()
    assert all(pair.identical for pair in pairs)
