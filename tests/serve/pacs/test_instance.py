from __future__ import annotations

import io
from pathlib import Path

import pytest
from pydicom import Dataset
from tests.dicom.conftest import result  # noqa: F401 - a fixture
from tests.dicom.kinds import KINDS
from tests.dicom.sources import radiograph, shipped

from msde.dicom import Result
from msde.errors import ImageError
from msde.serve.pacs.instance import Instance, is_uid, picture_classes


def as_file(dataset: Dataset) -> bytes:
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def test_an_image_is_told_from_what_is_none() -> None:
    image = Instance.of(as_file(radiograph()))
    assert image.is_picture
    assert image.pixels
    assert not image.is_result
    assert (image.uid, image.study) == (radiograph().SOPInstanceUID, radiograph().StudyInstanceUID)
    assert not Instance.of(Path(shipped("reportsi.dcm").filename).read_bytes()).is_picture
    for name in ("JPEG2000.dcm", "image_dfl.dcm"):  # in pieces of unknown length, and deflated
        assert Instance.of(Path(shipped(name).filename).read_bytes()).pixels


@pytest.mark.parametrize("lacks", ["Rows", "PixelData", "all of PixelData"])
def test_a_picture_without_pixels_is_told(lacks: str) -> None:
    image = radiograph()
    if lacks == "all of PixelData":
        image.PixelData = b""
    else:
        delattr(image, lacks)
    instance = Instance.of(as_file(image))
    assert instance.is_picture
    assert not instance.pixels


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_result_of_our_own_is_recognised(kind: str, result: Result) -> None:  # noqa: F811
    assert Instance.of(as_file(KINDS[kind](radiograph(), result))).is_result


def test_what_has_no_proper_uids_is_refused_without_quoting_it() -> None:
    study = radiograph().StudyInstanceUID.encode()
    malformed = as_file(radiograph()).replace(study, b"a patient".ljust(len(study), b"!"))
    for broken in (b"", b"nothing", as_file(radiograph())[:300], malformed):
        with pytest.raises(ImageError) as error:
            Instance.of(broken)
        assert "patient" not in str(error.value)


def test_classes_of_images_are_those_of_the_standard() -> None:
    assert {radiograph().SOPClassUID, "1.2.840.10008.5.1.4.1.1.7"} < picture_classes()
    assert not {"1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.30"} & picture_classes()
    assert is_uid("1.2.3")
    assert not any(is_uid(text) for text in ("", "1", "1..2", "1.02", "1.2.3\n", "1." + "2" * 64))
