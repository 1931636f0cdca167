from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from msde.dicom import Result, secondary_capture
from msde.errors import DataError, ImageError

from .kinds import overlay_of
from .sources import digital_radiograph, radiograph, shipped, ultrasound, written


def test_the_pixels_read_back(tmp_path: Path, result: Result, rng: np.random.Generator) -> None:
    overlay = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    for given in (overlay, np.asfortranarray(overlay)):
        stored = written(secondary_capture(radiograph(), result, given), tmp_path)
        np.testing.assert_array_equal(stored.pixel_array, overlay)
    assert stored.PhotometricInterpretation == "RGB"


def test_the_source_is_named(result: Result) -> None:
    source = digital_radiograph()
    stored = secondary_capture(source, result, overlay_of(source))
    assert stored.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert stored.SourceImageSequence[0].ReferencedSOPClassUID == source.SOPClassUID
    assert stored.ImageComments == "Research use only, not for diagnosis"


def test_an_overlay_lies_where_its_source_does(result: Result) -> None:
    source = shipped("CT_small.dcm")
    stored = secondary_capture(source, result, overlay_of(source))
    for keyword in ("FrameOfReferenceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        assert stored[keyword].value == source[keyword].value


def test_nothing_is_said_of_a_place_that_is_not_known(result: Result) -> None:
    source = digital_radiograph()
    stored = secondary_capture(source, result, overlay_of(source))
    assert not {"FrameOfReferenceUID", "ImagePositionPatient", "PixelSpacing"} & set(stored.dir())
    assert (stored.Laterality, list(stored.PatientOrientation)) == ("L", ["L", "F"])
    assert secondary_capture(radiograph(), result, overlay_of(radiograph())).PatientOrientation == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("elements", "ratio"),
    [
        ({"PixelAspectRatio": [4, 3]}, [4, 3]),
        ({"PixelAspectRatio": [8, 6]}, [4, 3]),
        ({"ImagerPixelSpacing": [0.2, 0.1]}, [2, 1]),
        ({"NominalScannedPixelSpacing": [0.15, 0.2]}, [3, 4]),
        ({"PixelAspectRatio": [1, 1]}, None),
        ({"PixelAspectRatio": [0, 3]}, None),
        ({"ImagerPixelSpacing": [0.1, 0.1]}, None),
        ({}, None),
        ({"PixelSpacing": [0.2, 0.1]}, None),  # which the capture has itself
    ],
)
def test_pixels_that_are_not_square_stay_so(result: Result, elements: dict[str, list[float]], ratio: list[int]) -> None:
    source = radiograph()
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        source.pop(keyword, None)
    for keyword, value in elements.items():
        setattr(source, keyword, value)
    stored = secondary_capture(source, result, overlay_of(source))
    assert stored.get("PixelAspectRatio") == ratio
    assert stored.get("PixelSpacing") == elements.get("PixelSpacing")


def test_what_the_source_shows_and_has_lost_is_stated(result: Result) -> None:
    assert secondary_capture(ultrasound(), result, overlay_of(ultrasound())).BurnedInAnnotation == "YES"
    stored = secondary_capture(digital_radiograph(), result, overlay_of(digital_radiograph()))
    assert (stored.LossyImageCompression, stored.LossyImageCompressionRatio) == ("01", 10)
    assert "BurnedInAnnotation" not in secondary_capture(radiograph(), result, overlay_of(radiograph()))


@pytest.mark.parametrize(
    "overlay", [np.zeros((48, 64), np.uint8), np.zeros((48, 64, 4), np.uint8), np.zeros((48, 64, 3))]
)
def test_no_rgb_picture_is_refused(result: Result, overlay: np.ndarray) -> None:
    with pytest.raises(DataError, match="uint8 of shape"):
        secondary_capture(radiograph(), result, overlay)


def test_another_grid_is_refused(result: Result) -> None:
    with pytest.raises(DataError, match="64 x 48 pixels is not on the source's grid of 48 x 64"):
        secondary_capture(radiograph(), result, np.zeros((64, 48, 3), np.uint8))


def test_many_frames_are_refused(result: Result) -> None:
    source = shipped("SC_rgb_rle_2frame.dcm")
    with pytest.raises(ImageError, match="2 frames"):
        secondary_capture(source, result, overlay_of(source))
