from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from msde.errors import ImageError
from msde.images import ImageRule, read_pixels
from msde.images.files import FaultError
from msde.images.lookup import palette, table

from .medical import NATIVE, dicom_bytes
from .pictures import gray_ramp

TWELVE = gray_ramp().astype(np.uint16) * 16
FULL = ImageRule("full-range")


def item(entries: Any, first: int = 0, bits: int = 16, *, n: int | None = None, vr: str = "US") -> Dataset:
    found = Dataset()
    found.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries) if n is None else n, first, bits])
    found.add_new("LUTData", vr, entries)
    return found


@pytest.mark.parametrize(
    ("entries", "bits", "white"),
    [
        (range(256), 8, 255),
        (range(256), 16, 255),  # the size of an entry in place of the depth
        (range(0, 4096, 8), 16, 4088),
        (range(0, 4096, 8), 12, 4095),
        (range(0, 4096, 8), 8, 4088),  # understated
        (range(100), 8, 255),
        ([0, 65535], 16, 65535),
        ([0, 0], 16, 1),
    ],
)
def test_white_is_what_the_entries_can_hold(entries: Any, bits: int, white: float) -> None:
    found = table(item(list(entries), bits=bits), 0)
    assert found.white == white
    np.testing.assert_array_equal(found(np.arange(len(entries))), list(entries))


def test_values_beyond_a_table_have_its_ends() -> None:
    found = table(item([5, 6, 7], first=10), 0)
    np.testing.assert_array_equal(found(np.array([-3, 9, 10, 11, 12, 13, 60000])), [5, 5, 5, 6, 7, 7, 7])
    np.testing.assert_array_equal(found(np.array([-1e30, 10.4, 10.6, 1e30], np.float32)), [5, 5, 6, 7])


@pytest.mark.parametrize(("lowest", "first"), [(0, 64512), (-1024, -1024)])
def test_the_first_value_has_the_sign_of_the_values(lowest: float, first: int) -> None:
    assert table(item([1, 2, 3], first=64512), lowest).first == first


def test_a_first_value_below_zero_written_unsigned_for_rescaled_values(tmp_path) -> None:
    entries = [int(65535 * (k / 4095) ** 2) for k in range(4096)]
    path = tmp_path / "scan.dcm"
    voi = Sequence([item(entries, first=65536 - 1024)])
    path.write_bytes(dicom_bytes(TWELVE, RescaleSlope=1, RescaleIntercept=-1024, VOILUTSequence=voi))
    np.testing.assert_allclose(read_pixels(path), np.array(entries)[TWELVE] / 65535, atol=1e-6)


def test_as_many_entries_as_sixteen_bits_can_tell_are_written_as_0() -> None:
    assert len(table(item(list(range(65536)), n=0), 0).entries) == 65536


@pytest.mark.parametrize("n", [256, 255])
def test_entries_of_8_bits_may_be_packed(n: int) -> None:
    entries = np.arange(n, dtype=np.uint8)
    padded = entries.tobytes() + b"\0" * (n % 2)
    for packed in (
        item(padded, bits=8, n=n, vr="OW"),
        item(np.frombuffer(padded, "<u2").tolist(), bits=8, n=n),
    ):
        np.testing.assert_array_equal(table(packed, 0).entries, entries)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (item([1, 2], n=9), "fewer entries than it states"),
        (item([1, 2], bits=0), "no possible depth"),
        (item([1, 2], bits=40), "no possible depth"),
        (Dataset(), "is not three numbers"),
    ],
)
def test_what_does_not_fit_is_refused(broken: Dataset, said: str) -> None:
    with pytest.raises(FaultError, match=said):
        table(broken, 0)


def palette_of(depth: int, held: int, **elements: Any) -> dict[str, Any]:
    """Give a palette whose entries hold values of `held` bits; blue stays dark."""
    ramp = np.arange(256, dtype=np.uint16) * (257 if held == 16 else 1)
    found: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"} | elements
    for colour, entries in (("Red", ramp), ("Green", ramp[::-1]), ("Blue", ramp // 4)):
        found[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, depth]
        found[f"{colour}PaletteColorLookupTableData"] = entries.astype("<u2").tobytes()
    return found


@pytest.mark.parametrize("held", [8, 16])
def test_a_palette_of_16_bits_may_hold_8(tmp_path, held: int) -> None:
    path = tmp_path / "scan.dcm"
    path.write_bytes(dicom_bytes(gray_ramp(), **palette_of(16, held)))
    gray = gray_ramp() / 255
    expected = np.stack([gray, 1 - gray, gray_ramp() // 4 / 255], axis=-1)
    np.testing.assert_allclose(read_pixels(path), expected, atol=5e-3)


@pytest.mark.parametrize("syntax", NATIVE, ids=lambda uid: uid.name)
def test_a_palette_in_each_form_is_the_same(tmp_path, syntax: str) -> None:
    path, order = tmp_path / "scan.dcm", ">" if syntax == NATIVE[2] else "<"
    elements = palette_of(16, 16)
    for keyword in [keyword for keyword in elements if keyword.endswith("Data")]:
        elements[keyword] = np.frombuffer(elements[keyword], "<u2").astype(f"{order}u2").tobytes()
    path.write_bytes(dicom_bytes(gray_ramp(), syntax, **elements))
    np.testing.assert_allclose(read_pixels(path)[..., 0], gray_ramp() / 255, atol=1e-6)


def test_a_palette_in_segments_is_spread(tmp_path) -> None:
    elements = palette_of(16, 16)
    for colour, end in (("Red", 65535), ("Green", 65535), ("Blue", 0)):
        del elements[f"{colour}PaletteColorLookupTableData"]
        segments = np.array([0, 1, 0, 1, 255, end], "<u2")  # one entry of 0, then a ramp to the end
        elements[f"Segmented{colour}PaletteColorLookupTableData"] = segments.tobytes()
    path = tmp_path / "scan.dcm"
    path.write_bytes(dicom_bytes(gray_ramp(), **elements))
    np.testing.assert_allclose(read_pixels(path)[..., 0], gray_ramp() / 255, atol=2e-5)
    assert read_pixels(path)[..., 2].max() == 0


def test_tables_of_a_palette_of_different_lengths_are_refused() -> None:
    header = Dataset()
    for keyword, value in palette_of(16, 16).items():
        setattr(header, keyword, value)
    header.RedPaletteColorLookupTableDescriptor = [200, 0, 16]
    with pytest.raises(FaultError, match="differ in length"):
        palette(header, 0)


@pytest.mark.parametrize("depth", [16, 12])
def test_modality_tables_decide_the_full_range(tmp_path, depth: int) -> None:
    path = tmp_path / "scan.dcm"
    entries = list(range(4096))
    path.write_bytes(
        dicom_bytes(TWELVE, BitsStored=12, HighBit=11, ModalityLUTSequence=Sequence([item(entries, bits=depth)]))
    )
    np.testing.assert_allclose(read_pixels(path, FULL), TWELVE / 4095, atol=1e-6)


def test_a_table_that_is_too_short_is_a_line_about_the_image(tmp_path) -> None:
    path = tmp_path / "scan.dcm"
    path.write_bytes(dicom_bytes(TWELVE, VOILUTSequence=Sequence([item([1, 2], n=4096)])))
    with pytest.raises(ImageError, match=r"DICOM image \(its LUTData has fewer entries than it states\)"):
        read_pixels(path)
