"""Padding is no picture: it decides nothing and is black, whatever its value and whatever the rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from msde.images import ImageRule, read_pixels
from msde.images.intensity import to_pixels
from msde.images.samples import Samples

from .medical import dicom_bytes, dicom_dataset, saved
from .pictures import gray_ramp

PICTURE = gray_ramp(40, 32).astype(np.int32) * 10 + 100
PADDED = np.zeros(PICTURE.shape, bool)
PADDED[:9] = PADDED[:, -5:] = True
RULES = ["dicom", "percentile", "window:200,2000"]


@pytest.fixture
def keep(tmp_path: Path):
    def write(data: bytes, name: str = "scan.dcm") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


def expected(rule: str, *, inverted: bool = False) -> np.ndarray:
    """Give the pixels of the picture alone, in MR, and black where it is padded."""
    seen = PICTURE[~PADDED]
    low, high = (200, 2000) if rule.startswith("window") else np.percentile(seen, [0.5, 99.5], method="nearest")
    pixels = np.clip((PICTURE - low) / (high - low), 0, 1)
    return np.where(PADDED, 0, 1 - pixels if inverted else pixels)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("value", "elements"),
    [
        (-2000, {"PixelRepresentation": 1}),
        (-32768, {"PixelRepresentation": 1}),
        (32767, {"PixelRepresentation": 1}),
        (-2000, {"PixelRepresentation": 1, "BitsStored": 13, "HighBit": 12}),  # beyond what is stored
        (63536, {"PixelRepresentation": 1}),  # -2000 written with the other sign
        (65535, {}),
        (-1, {}),
        (0, {}),
        (4095, {"BitsStored": 12, "HighBit": 11}),
        (4000, {"BitsStored": 12, "HighBit": 11, "PixelPaddingRangeLimit": 4095}),
        (4095, {"BitsStored": 12, "HighBit": 11, "PixelPaddingRangeLimit": 4000}),
        (0, {"PhotometricInterpretation": "MONOCHROME1"}),
        (65535, {"PhotometricInterpretation": "MONOCHROME1"}),
    ],
)
def test_padding_decides_nothing_and_is_black(keep, rule: str, value: int, elements: dict[str, Any]) -> None:
    filling = np.full(PICTURE.shape, value)
    if "PixelPaddingRangeLimit" in elements:
        filling[:, ::2] = 4050
    stored = np.where(PADDED, filling, PICTURE).astype(np.uint16 if value >= 0 else np.int16).view(np.uint16)
    dataset = dicom_dataset(stored, Modality="MR", **elements)
    dataset.add_new("PixelPaddingValue", "SS" if value < 0 else "US", value)
    inverted = elements.get("PhotometricInterpretation") == "MONOCHROME1"
    pixels = read_pixels(keep(saved(dataset)), ImageRule(rule))
    np.testing.assert_allclose(pixels, expected(rule, inverted=inverted), atol=1e-6)


def test_a_window_a_table_and_the_full_range_leave_padding_black(keep) -> None:
    stored = np.where(PADDED, 4095, PICTURE).astype(np.uint16)
    bits: dict[str, Any] = {"BitsStored": 12, "HighBit": 11, "PixelPaddingValue": 4095}
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [4096, 0, 12], np.arange(4096, dtype=np.uint16).tobytes()
    for rule, elements in (
        ("dicom", {"WindowCenter": 2048, "WindowWidth": 4096}),
        ("dicom", {"VOILUTSequence": [table]}),
        ("full-range", {}),
    ):
        pixels = read_pixels(keep(dicom_bytes(stored, **bits, **elements)), ImageRule(rule))
        np.testing.assert_allclose(pixels, np.where(PADDED, 0, PICTURE / 4095), atol=1e-3)


@pytest.mark.parametrize("value", [1.5e30, -1e30])
@pytest.mark.parametrize("kind", ["Float", "DoubleFloat"])
def test_padding_of_floats(keep, kind: str, value: float) -> None:
    dtype = np.float32 if kind == "Float" else np.float64
    values = np.where(PADDED, dtype(value), PICTURE).astype(dtype)
    dataset = dicom_dataset(values.view(np.uint32 if kind == "Float" else np.uint64), Modality="OT")
    del dataset.PixelData, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation
    setattr(dataset, f"{kind}PixelData", values.tobytes())
    setattr(dataset, f"{kind}PixelPaddingValue", float(dtype(value)))
    np.testing.assert_allclose(read_pixels(keep(saved(dataset))), expected("dicom"), atol=1e-6)


def test_a_picture_of_padding_alone_is_read_as_it_is(keep) -> None:
    path = keep(dicom_bytes(np.full((24, 20), 7, np.uint16), PixelPaddingValue=7, Modality="MR"))
    assert np.ptp(read_pixels(path)) == 0


def test_values_of_the_background_may_be_anything() -> None:
    values = np.where(PADDED, np.nan, PICTURE).astype(np.float32)
    samples = Samples(values, -np.inf, np.inf, None, PADDED)
    np.testing.assert_allclose(to_pixels(samples, ImageRule("percentile"), "a"), expected("percentile"), atol=1e-6)
    assert np.isnan(values[PADDED]).all()  # the samples are not written to


@pytest.mark.parametrize("kind", ["Float", "DoubleFloat"])
def test_floats_are_read_in_their_own_unit(keep, kind: str) -> None:
    dtype = np.float32 if kind == "Float" else np.float64
    frames = np.stack([PICTURE / 1000, PICTURE / -500]).astype(dtype)
    dataset = dicom_dataset(frames.view(np.uint32 if kind == "Float" else np.uint64))
    del dataset.PixelData, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation
    setattr(dataset, f"{kind}PixelData", frames.tobytes())
    path = keep(saved(dataset))
    for k, frame in enumerate(frames):
        window = read_pixels(f"{path}#{k:03}", ImageRule("window:-6,3"))
        np.testing.assert_allclose(window, np.clip((frame + 6) / 9, 0, 1), atol=1e-6)
        low, high = np.percentile(frame, [0.5, 99.5], method="nearest")
        np.testing.assert_allclose(
            read_pixels(f"{path}#{k:03}"), np.clip((frame - low) / (high - low), 0, 1), atol=1e-5
        )
