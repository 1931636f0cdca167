from __future__ import annotations

from pathlib import Path

import highdicom
import numpy as np
import pytest

from msde.dicom import Result, parametric_map
from msde.errors import DataError, ImageError
from msde.images import ImageRule, read_pixels

from .kinds import heat_map_of
from .sources import SOURCES, digital_radiograph, neighbour, radiograph, shipped, written


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES.keys())
def test_the_numbers_read_back(tmp_path: Path, source, result: Result, rng: np.random.Generator) -> None:
    image = source()
    heat_map = rng.uniform(size=(image.Rows, image.Columns))
    stored = written(parametric_map(image, result, heat_map), tmp_path)
    np.testing.assert_array_equal(stored.pixel_array, heat_map.astype(np.float32))
    shared = stored.SharedFunctionalGroupsSequence[0]
    mapping = shared.RealWorldValueMappingSequence[0]
    assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (1, 0)
    derivation = stored.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0]
    assert derivation.SourceImageSequence[0].ReferencedSOPInstanceUID == image.SOPInstanceUID
    assert derivation.SourceImageSequence[0].ReferencedSOPClassUID == image.SOPClassUID
    assert stored.ReferencedSeriesSequence[0].SeriesInstanceUID == image.SeriesInstanceUID


def test_highdicom_reads_it(tmp_path: Path, result: Result) -> None:
    source = shipped("CT_small.dcm")
    written(parametric_map(source, result, heat_map_of(source)), tmp_path)
    volume = highdicom.imread(tmp_path / "source.dcm").get_volume()
    np.testing.assert_allclose(volume.array[0], heat_map_of(source), atol=1e-7)
    np.testing.assert_allclose(volume.spacing[1:], source.PixelSpacing)
    np.testing.assert_allclose(volume.position, source.ImagePositionPatient)


def test_a_map_lies_where_its_source_does(result: Result) -> None:
    source = shipped("MR_small.dcm")
    stored = parametric_map(source, result, heat_map_of(source))
    shared = stored.SharedFunctionalGroupsSequence[0]
    place = stored.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0]
    assert stored.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == source.ImageOrientationPatient
    assert place.ImagePositionPatient == source.ImagePositionPatient
    assert shared.PixelMeasuresSequence[0].PixelSpacing == source.PixelSpacing
    assert shared.PixelMeasuresSequence[0].SliceThickness == source.SliceThickness
    assert "SpacingBetweenSlices" not in shared.PixelMeasuresSequence[0]


def test_a_projection_gets_a_frame_of_its_own_and_no_distances(result: Result) -> None:
    sources = (digital_radiograph(), neighbour(digital_radiograph()))
    stored, other = (parametric_map(image, result, heat_map_of(image)) for image in sources)
    assert stored.FrameOfReferenceUID != other.FrameOfReferenceUID
    assert len(stored.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]) == 0
    place = stored.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0]
    assert place.ImagePositionPatient == [0, 0, 0]


def test_a_calibrated_projection_keeps_its_spacing(result: Result) -> None:
    source = digital_radiograph()
    source.PixelSpacing = [0.14, 0.14]
    stored = parametric_map(source, result, heat_map_of(source))
    assert stored.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing == [0.14, 0.14]


def test_a_map_shows_no_patient_and_has_lost_what_its_source_has(result: Result) -> None:
    stored = parametric_map(digital_radiograph(), result, heat_map_of(digital_radiograph()))
    assert (stored.BurnedInAnnotation, stored.RecognizableVisualFeatures) == ("NO", "NO")
    assert (stored.LossyImageCompression, stored.Laterality) == ("01", "L")


@pytest.mark.parametrize("value", [-0.01, 1.01, np.nan, np.inf])
def test_values_outside_the_range_are_refused(result: Result, value: float) -> None:
    heat_map = heat_map_of(radiograph())
    heat_map[3, 4] = value
    with pytest.raises(DataError, match=r"values in \[0, 1\]"):
        parametric_map(radiograph(), result, heat_map)


def test_another_shape_is_refused(result: Result) -> None:
    with pytest.raises(DataError, match="not on the source's grid"):
        parametric_map(radiograph(), result, np.zeros((24, 32)))
    with pytest.raises(DataError, match=r"\(rows, columns\)"):
        parametric_map(radiograph(), result, np.zeros((48, 64, 1)))


def test_many_frames_are_refused(result: Result) -> None:
    source = shipped("SC_rgb_rle_2frame.dcm")
    with pytest.raises(ImageError, match="2 frames"):
        parametric_map(source, result, heat_map_of(source))


def test_a_map_is_read_back_in_its_own_unit(tmp_path: Path, result: Result, rng: np.random.Generator) -> None:
    source = shipped("CT_small.dcm")
    heat = rng.random((source.Rows, source.Columns))
    path = tmp_path / "map.dcm"
    parametric_map(source, result, heat).save_as(path)
    for rule in ("dicom", "window:0,1"):
        np.testing.assert_allclose(read_pixels(path, ImageRule(rule)), heat, atol=1e-6)
