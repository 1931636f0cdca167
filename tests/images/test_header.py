"""Numbers of a header are read whatever their writer made of them, or refused; never by their letters."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian

from msde.errors import ImageError
from msde.images import read_pixels
from msde.images.files import FaultError, look_into
from msde.images.header import integer, number, numbers, words

from .medical import NATIVE, ct_slice, dicom_bytes, dicom_dataset, saved
from .pictures import gray_ramp

TWELVE = gray_ramp().astype(np.uint16) * 16


def with_element(dataset: Dataset, keyword: str, vr: str, value: Any) -> bytes:
    """Write a dataset with an element of any text in any type, in an explicit form."""
    tag = pydicom.datadict.tag_for_keyword(keyword)
    assert tag is not None
    as_text = vr in ("DS", "IS", "CS")
    dataset.add(pydicom.DataElement(tag, "LO" if as_text else vr, value, validation_mode=pydicom.config.IGNORE))
    order: Literal["big", "little"] = "big" if dataset.file_meta.TransferSyntaxUID == ExplicitVRBigEndian else "little"
    head = (tag >> 16).to_bytes(2, order) + (tag & 0xFFFF).to_bytes(2, order)
    return saved(dataset).replace(head + b"LO", head + vr.encode()) if as_text else saved(dataset)


def header_with(vr: str, value: Any, keyword: str = "WindowCenter", syntax: str = ExplicitVRLittleEndian) -> Dataset:
    """Write an element of this type and read it back."""
    return pydicom.dcmread(BytesIO(with_element(dicom_dataset(gray_ramp(), syntax), keyword, vr, value)), force=True)


@pytest.mark.parametrize(
    ("vr", "value", "expected"),
    [
        ("DS", "40", [40]),
        ("DS", "40\\400", [40, 400]),
        ("DS", " 40.5 \\ -1e2 ", [40.5, -100]),
        ("DS", "40,5", [40.5]),
        ("DS", ",5\\3,", [0.5, 3]),
        ("DS", "\\400", [None, 400]),
        ("DS", "", []),
        ("LO", "2048", [2048]),
        ("LO", "2048\\1", [2048, 1]),
        ("SH", "12,5", [12.5]),
        ("IS", "7", [7]),
        ("FD", [40.25, 3.0], [40.25, 3]),
        ("FL", 40.25, [40.25]),
        ("US", [40, 400], [40, 400]),
        ("SS", -5, [-5]),
        ("SL", -70000, [-70000]),
        ("UN", b"40.5", [40.5]),
    ],
)
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian], ids=["little", "big"])
def test_numbers_are_read_whatever_their_type(vr: str, value: Any, expected: list[float], syntax: str) -> None:
    assert numbers(header_with(vr, value, syntax=syntax), "WindowCenter") == expected


@pytest.mark.parametrize("value", ["forty", "4O", "1_0", "nan", "inf", "1.000,5", "1 2", "--4", "0x10", "12mm"])
def test_what_is_no_number_is_said_without_its_words(value: str) -> None:
    with pytest.raises(FaultError, match="^its WindowCenter is no number$"):
        numbers(header_with("DS", value), "WindowCenter")


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=4))
def test_a_decimal_comma_is_a_point(values: list[float]) -> None:
    dataset = Dataset()
    dataset.add_new("ImageComments", "LT", "")
    text = "\\".join(repr(value) for value in values)
    for written in (text, text.replace(".", ",")):
        dataset.add(pydicom.DataElement("WindowWidth", "LO", written, validation_mode=pydicom.config.IGNORE))
        assert numbers(dataset, "WindowWidth") == values


def test_one_number_whole_numbers_and_terms() -> None:
    dataset = Dataset()
    assert (numbers(dataset, "Rows"), number(dataset, "Rows"), integer(dataset, "Rows", 3)) == ([], None, 3)
    dataset.add_new("Rows", "US", 7)
    dataset.add_new("RescaleSlope", "DS", "1.5")
    assert integer(dataset, "Rows", 3) == 7
    with pytest.raises(FaultError, match="its RescaleSlope is no whole number"):
        integer(dataset, "RescaleSlope", 0)
    header = header_with("CS", " monochrome1\\x", "PhotometricInterpretation")
    assert words(header, "PhotometricInterpretation") == "MONOCHROME1"
    assert words(dataset, "Modality") == ""


@pytest.fixture
def keep(tmp_path: Path):
    def write(data: bytes, name: str = "scan.dcm") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


def with_text(keyword: str, vr: str, text: str, **elements: Any) -> bytes:
    return with_element(dicom_dataset(TWELVE, **elements), keyword, vr, text)


@pytest.mark.parametrize("vr", ["DS", "LO", "SH", "LT"])
@pytest.mark.parametrize(("keyword", "other"), [("WindowCenter", "WindowWidth"), ("WindowWidth", "WindowCenter")])
@pytest.mark.parametrize("text", ["2048", "2048,0", "2048.0"])
def test_a_window_as_text_is_the_window(keep, vr: str, keyword: str, other: str, text: str) -> None:
    expected = read_pixels(keep(dicom_bytes(TWELVE, WindowCenter=2048, WindowWidth=2048), "a.dcm"))
    np.testing.assert_array_equal(read_pixels(keep(with_text(keyword, vr, text, **{other: 2048}))), expected)


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth"])
def test_numbers_that_are_none_are_refused_by_their_name(keep, keyword: str) -> None:
    elements = {"WindowCenter": 5, "WindowWidth": 5, "RescaleSlope": 1, "RescaleIntercept": 0}
    path = keep(with_text(keyword, "LO", "Mustermann", **elements))
    with pytest.raises(ImageError, match=rf"damaged or truncated DICOM image \(its {keyword} is no number\); copy"):
        read_pixels(path)


def test_numbers_that_are_none_never_end_a_listing(keep) -> None:
    with pytest.raises(ImageError, match="its NumberOfFrames is no number"):
        look_into(keep(with_text("NumberOfFrames", "LO", "1x")), "scan.dcm")
    placed = {"SeriesInstanceUID": "1.2", "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    contents = look_into(keep(with_text("ImagePositionPatient", "LO", "0\\1\\z", **placed)), "scan.dcm")
    assert contents is not None
    assert contents.as_slice is not None
    assert contents.as_slice.position is None


def test_a_slice_is_placed_by_numbers_with_a_comma(keep) -> None:
    plain = keep(ct_slice(TWELVE, 1.5, "1.2"), "a.dcm")
    comma = keep(with_element(pydicom.dcmread(plain), "ImagePositionPatient", "DS", "0\\0\\1,5"), "b.dcm")
    assert look_into(comma, "b") == look_into(plain, "a")


def test_no_frames_are_one(keep) -> None:
    for text in ("0", "", "1 "):
        path = keep(with_text("NumberOfFrames", "IS", text))
        np.testing.assert_array_equal(read_pixels(path), read_pixels(TWELVE))


def test_the_first_window_with_a_width_is_taken(keep) -> None:
    expected = read_pixels(keep(dicom_bytes(TWELVE, WindowCenter=2000, WindowWidth=1000), "a.dcm"))
    for centres, widths in (([2000, 9], [1000, 3]), ([9, 2000], [0, 1000]), (2000, [1000, 7]), ([2000, 7], 1000)):
        path = keep(dicom_bytes(TWELVE, WindowCenter=centres, WindowWidth=widths))
        np.testing.assert_array_equal(read_pixels(path), expected)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", None])
@pytest.mark.parametrize("width", [0.05, 0.5, 0.9, 1.0, 1.5, 4.0])
def test_a_narrow_window_of_small_steps_is_no_threshold(keep, width: float, function: str | None) -> None:
    elements = {"VOILUTFunction": function} if function else {}
    slope = width / 4095
    path = keep(
        dicom_bytes(TWELVE, RescaleSlope=f"{slope:.10f}", WindowCenter=width / 2, WindowWidth=width, **elements)
    )
    np.testing.assert_allclose(read_pixels(path), TWELVE / 4095, atol=1e-3)


@pytest.mark.parametrize("stated", NATIVE[:2], ids=lambda uid: uid.name)
@pytest.mark.parametrize("written", NATIVE[:2], ids=lambda uid: uid.name)
def test_the_form_of_the_data_counts_not_what_the_meta_header_says(keep, written: str, stated: str) -> None:
    data = dicom_bytes(TWELVE, written)
    length = int.from_bytes(data[140:144], "little")
    meta, body = pydicom.dcmread(BytesIO(data)).file_meta, data[144 + length :]
    meta.TransferSyntaxUID = UID(stated)
    buffer = DicomBytesIO()
    buffer.write(bytes(128) + b"DICM")
    pydicom.filewriter.write_file_meta_info(buffer, meta)
    path = keep(buffer.getvalue() + body)
    np.testing.assert_array_equal(read_pixels(path), read_pixels(TWELVE))
