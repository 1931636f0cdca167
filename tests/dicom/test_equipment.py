from __future__ import annotations

import io
from dataclasses import replace
from datetime import timedelta

import pytest
from pydicom import Dataset

from msde.dicom import Result

from .kinds import KINDS
from .sources import SOURCES, digital_radiograph, neighbour, radiograph


def encoded(stored: Dataset) -> bytes:
    file = io.BytesIO()
    stored.save_as(file, enforce_file_format=True)
    return file.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES.keys())
def test_a_result_is_of_the_same_study_and_patient_in_a_new_series(source, result: Result) -> None:
    image = source()
    stored = [make(image, result) for make in KINDS.values()]
    for dataset in stored:
        assert dataset.StudyInstanceUID == image.StudyInstanceUID
        assert dataset.PatientID == image.get("PatientID", "")
        assert dataset.PatientName == image.get("PatientName", "")
        assert dataset.StudyDate == (image.get("StudyDate") or "")
    assert len({image.SeriesInstanceUID, *(dataset.SeriesInstanceUID for dataset in stored)}) == 1 + len(KINDS)
    assert len({image.SOPInstanceUID, *(dataset.SOPInstanceUID for dataset in stored)}) == 1 + len(KINDS)


@pytest.mark.slow
@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS.keys())
def test_a_retry_gives_the_same_bytes(make, result: Result) -> None:
    assert encoded(make(digital_radiograph(), result)) == encoded(make(digital_radiograph(), result))


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS.keys())
def test_uids_depend_on_source_and_model_only(make, result: Result) -> None:
    first = make(digital_radiograph(), result)
    later = make(digital_radiograph(), replace(result, scored_at=result.scored_at + timedelta(days=1), text=""))
    assert (later.SOPInstanceUID, later.SeriesInstanceUID) == (first.SOPInstanceUID, first.SeriesInstanceUID)
    other_model = make(digital_radiograph(), replace(result, model_sha256="f" * 64))
    other_image = make(neighbour(digital_radiograph()), result)
    assert len({stored.SOPInstanceUID for stored in (first, other_model, other_image)}) == 3
    assert other_image.SeriesInstanceUID == first.SeriesInstanceUID != other_model.SeriesInstanceUID


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS.keys())
def test_research_use_and_model_are_stated(make, result: Result) -> None:
    stored = make(radiograph(), result)
    assert stored.ContentQualification == "RESEARCH"
    assert "research use only" in stored.SeriesDescription
    assert (stored.Manufacturer, stored.ManufacturerModelName) == ("MSDE", "chest radiographs")
    assert stored.DeviceSerialNumber == result.model_sha256
    assert stored.SoftwareVersions[1] == "2.1"
    assert (stored.ContentDate, stored.ContentTime) == ("20260419", "123456.000789")


def test_instance_numbers_are_those_of_the_source(result: Result) -> None:
    assert {make(digital_radiograph(), result).InstanceNumber for make in KINDS.values()} == {3}
