from __future__ import annotations

import warnings
from pathlib import Path

import pydicom
import pytest

from msde.dicom import Result, write_datasets
from msde.errors import ImageError

from .kinds import KINDS
from .sources import FOLDER, SOURCES, digital_radiograph, with_bytes
from .validator import errors

# What the standard forbids in a value, or dciodvfy does.
MALFORMED = {
    "AccessionNumber": b"1" * 20,
    "BodyPartExamined": b"HEAD",  # with a laterality
    "FrameOfReferenceUID": b"1.2.03",
    "ImageOrientationPatient": b"1\\0\\0\\1\\0\\0",
    "InstanceNumber": b"-4",
    "LossyImageCompression": b"YES",
    "LossyImageCompressionMethod": b"jpeg (bad)",
    "LossyImageCompressionRatio": b"ten",
    "PatientAge": b"5Y",
    "PatientBirthDate": b"1970.01.01",
    "PatientName": b"a^b^c^d^e^f",
    "PatientOrientation": b"LEFT",
    "PatientSex": b"X",
    "PatientWeight": b"heavy",
    "PixelSpacing": b"0\\0",
    "SliceThickness": b"0",
    "StudyDate": b"20240101-20240202",
    "StudyDescription": b"x" * 70,
    "StudyID": b"a\tb",
    "StudyTime": b"1200-1300",
}


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES.keys())
def test_the_validator_finds_no_error(tmp_path: Path, source, result: Result) -> None:
    files = write_datasets([make(source(), result) for make in KINDS.values()], tmp_path)
    assert len(files) == len(KINDS)
    assert errors(files) == []


def test_the_validator_finds_an_error_where_there_is_one(tmp_path: Path, result: Result) -> None:
    stored = KINDS["parametric map"](digital_radiograph(), result)
    del stored.FrameOfReferenceUID
    assert any("FrameOfReference" in error for error in errors(write_datasets([stored], tmp_path)))


@pytest.mark.slow
@pytest.mark.parametrize("keyword", MALFORMED)
def test_malformed_attributes_are_left_out(tmp_path: Path, result: Result, keyword: str) -> None:
    source = with_bytes(keyword, MALFORMED[keyword])
    files = write_datasets([make(source, result) for make in KINDS.values()], tmp_path / "results")
    assert errors(files) == []


@pytest.mark.slow
def test_no_shipped_image_leads_to_an_error(tmp_path: Path, result: Result) -> None:
    """Damaged, odd and encapsulated ones included."""
    files = []
    for path in sorted(FOLDER.glob("*.dcm")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            source = pydicom.dcmread(path, force=True)
            if not isinstance(source.get("Rows"), int):
                continue
        for make in KINDS.values():
            try:
                files += write_datasets([make(source, result)], tmp_path / path.name)
            except ImageError as error:
                assert "no StudyInstanceUID" in str(error) or "frames" in str(error)
    assert len(files) > 140
    assert errors(files) == []
