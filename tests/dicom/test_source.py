from __future__ import annotations

import logging
import warnings
from pathlib import Path

import pydicom
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from msde.dicom import Result
from msde.dicom.source import BLANK, PATIENT_AND_STUDY, PIXELS, read_series, read_source
from msde.errors import DataError, ImageError, MSDEError
from msde.images.dicom_header import read_text

from .kinds import KINDS
from .sources import digital_radiograph, radiograph, shipped, ultrasound, with_bytes, written


def test_well_formed_attributes_are_taken_over(tmp_path: Path) -> None:
    for image in (digital_radiograph(), written(digital_radiograph(), tmp_path)):
        source = read_source(image)
        assert (source.rows, source.columns, source.frames, source.number) == (48, 64, 1, 3)
        assert source.patient_and_study["PatientName"] == "Müller^Änne"
        assert source.patient_and_study["PatientID"] == "P-17"
        assert source.patient_and_study["StudyDate"] == ""
        assert source.of_pixels["LossyImageCompressionMethod"] == "ISO_10918_1"
        assert (source.laterality, source.patient_orientation) == ("L", "L\\F")
        assert source.plane is None
        assert source.spacing is None
        assert source.thickness is None


def test_what_is_not_there_is_blank() -> None:
    source = read_source(radiograph())
    assert source.patient_and_study == dict.fromkeys(BLANK, "")
    assert source.of_pixels == {}
    assert source.number == 1


def test_a_slice_has_a_plane() -> None:
    source = read_source(shipped("CT_small.dcm"))
    assert source.plane is not None
    assert source.plane.position == (-158.135803, -179.035797, -75.699997)
    assert source.spacing == (0.661468, 0.661468)
    assert source.thickness == 5


@pytest.mark.parametrize(
    ("charset", "encoded", "name"),
    [
        ("ISO_IR 192", "Yamada^Tarou=山田^太郎=やまだ^たろう".encode(), "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("ISO_IR 144", "Люкceмбypг".encode("iso8859_5"), "Люкceмбypг"),
        (
            ["", "ISO 2022 IR 87"],
            b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B",
            "Yamada^Tarou=山田^太郎",
        ),
    ],
    ids=["UTF-8", "Cyrillic", "Japanese with escapes"],
)
def test_names_of_every_script_are_kept(tmp_path: Path, result: Result, charset, encoded: bytes, name: str) -> None:
    image = radiograph()
    image.SpecificCharacterSet, image.PatientName = charset, "~" * len(encoded)
    image.save_as(tmp_path / "x.dcm", enforce_file_format=True)
    content = (tmp_path / "x.dcm").read_bytes()
    (tmp_path / "x.dcm").write_bytes(content.replace(str(image.PatientName).encode(), encoded))
    source = pydicom.dcmread(tmp_path / "x.dcm")
    for make in KINDS.values():
        stored = make(source, result)
        assert stored.SpecificCharacterSet == "ISO_IR 192"
        assert str(written(stored, tmp_path).PatientName) == name


@pytest.mark.slow
@pytest.mark.parametrize("declared", [None, "", "ISO_IR 6", "ISO_IR 999"])
@pytest.mark.parametrize("encoded", ["Tést^On".encode(), "Tést^On".encode("latin-1"), "山田^".encode("shift_jis")])
@pytest.mark.parametrize("touched", [False, True])
def test_text_without_a_declared_character_set_is_ascii_or_blank(
    tmp_path: Path, result: Result, declared: str | None, encoded: bytes, touched: bool
) -> None:
    image = radiograph()
    image.PatientName, image.StudyDescription = "~" * len(encoded), "plain"
    image.save_as(tmp_path / "x.dcm", enforce_file_format=True)
    content = (tmp_path / "x.dcm").read_bytes().replace(b"~" * len(encoded), encoded)
    charset = b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100"
    assert charset in content
    value = (declared or "").encode()
    value += b" " * (len(value) % 2)
    replaced = b"" if declared is None else charset[:6] + len(value).to_bytes(2, "little") + value
    (tmp_path / "x.dcm").write_bytes(content.replace(charset, replaced))
    with warnings.catch_warnings(action="ignore"):
        source = pydicom.dcmread(tmp_path / "x.dcm")
        assert not touched or str(source.PatientName)
        assert read_source(source).patient_and_study["PatientName"] == ""
        for make in KINDS.values():
            stored = make(source, result)
            assert (stored.PatientName, stored.StudyDescription) == ("", "plain")


def test_text_that_was_set_in_memory_is_as_it_was_meant(tmp_path: Path) -> None:
    image = radiograph()
    del image.SpecificCharacterSet
    source = written(image, tmp_path)
    source.SpecificCharacterSet, source.PatientName = "ISO_IR 192", "Tést^On"
    assert read_source(source).patient_and_study["PatientName"] == "Tést^On"


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"])
def test_a_missing_or_malformed_uid_is_an_error(result: Result, keyword: str) -> None:
    missing, malformed = digital_radiograph(), with_bytes(keyword, b"1.2.03")
    delattr(missing, keyword)
    for make in KINDS.values():
        with pytest.raises(ImageError, match=f"has no {keyword}"):
            make(missing, result)
        with pytest.raises(ImageError, match=f"has a malformed {keyword}"):
            make(malformed, result)


def test_a_malformed_patient_id_is_an_error_that_does_not_quote_it(result: Result) -> None:
    for make in KINDS.values():
        with pytest.raises(ImageError, match="malformed PatientID") as caught:
            make(with_bytes("PatientID", b"SECRET" * 20), result)
        assert "SECRET" not in str(caught.value)


def test_no_image_is_an_error() -> None:
    report = radiograph()
    del report.Rows
    with pytest.raises(ImageError, match="no image"):
        read_source(report)


def test_a_series_is_one() -> None:
    assert len(read_series([radiograph(), radiograph()])) == 2
    for datasets in ([], [radiograph(), ultrasound()], [radiograph(), with_other_patient()]):
        with pytest.raises(DataError, match="not of one series"):
            read_series(datasets)


def with_other_patient() -> pydicom.Dataset:
    image = radiograph()
    image.PatientID = "P-18"
    return image


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=min(40, settings().max_examples))
@given(keyword=st.sampled_from((*PATIENT_AND_STUDY, *PIXELS)), value=st.binary(max_size=90))
@example(keyword="PatientName", value=b"SECRET" * 20)
@example(keyword="PatientName", value=b"SECRET")  # highdicom would log it, for it lacks a caret
@example(keyword="PatientBirthDate", value=b"SECRET")
@example(keyword="PatientWeight", value=b"SECRET")
@example(keyword="StudyDate", value=b"SECRET")
def test_nothing_is_said_about_values(caplog, result: Result, keyword: str, value: bytes) -> None:
    caplog.clear()
    source = with_bytes(keyword, value)
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for make in KINDS.values():
            try:
                make(source, result)
            except MSDEError as error:
                assert keyword == "PatientID"
                assert "malformed PatientID" in str(error)
    said = [record.getMessage() for record in caplog.records] + [str(warning.message) for warning in warned]
    assert not any("SECRET" in line for line in said)
    assert all("replacement characters" in line or "escape sequence" in line for line in said), said


@given(st.text(st.characters(codec="latin-1", exclude_characters="\\\x1b"), max_size=64))
def test_text_is_read_as_it_stands_or_not_at_all(text: str) -> None:
    read = read_text(with_bytes("StudyDescription", text.encode("latin-1")), "StudyDescription")
    assert read in (text.strip(" \0"), None)
    assert (read is None) == any(ord(c) < 32 or 127 <= ord(c) < 160 for c in text.strip(" \0"))
