"""How a picture is measured: millimetres, units and windows, of what its file states and of nothing else."""

from typing import Any

import nibabel
import numpy as np
import pytest
from pydicom.dataset import Dataset
from tests.images.medical import LPS, dicom_bytes, nifti_bytes
from tests.images.pictures import gray_ramp

from msde.images import find_images
from msde.images.measures import Measures, measures_of

GRAY = gray_ramp().astype(np.uint16)


def of(**elements: object) -> Dataset:
    made = Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def region(step: float, **elements: object) -> Dataset:
    facts = {"RegionSpatialFormat": 1, "PhysicalUnitsXDirection": 3, "PhysicalUnitsYDirection": 3}
    return of(**{**facts, "PhysicalDeltaX": step, "PhysicalDeltaY": step, **elements})


def read(tmp_path, **elements: Any) -> Measures:
    path = tmp_path / "scan.dcm"
    path.write_bytes(dicom_bytes(GRAY, **elements))
    return measures_of(path, "scan.dcm")


@pytest.mark.parametrize(
    ("stated", "spacing", "at_detector"),
    [
        ({}, None, False),
        ({"PixelSpacing": [0.5, 0.25]}, (0.5, 0.25), False),
        ({"ImagerPixelSpacing": [0.14, 0.14]}, (0.14, 0.14), True),
        ({"PixelSpacing": [0.14, 0.14], "ImagerPixelSpacing": [0.14, 0.14]}, (0.14, 0.14), True),
        ({"PixelSpacing": [0.1, 0.1], "ImagerPixelSpacing": [0.14, 0.14]}, (0.1, 0.1), False),
        ({"PixelSpacing": [0, 0.5]}, None, False),
        ({"PixelSpacing": [0.5]}, None, False),
        ({"SequenceOfUltrasoundRegions": [region(0.02), region(0.02)]}, (0.2, 0.2), False),
        ({"SequenceOfUltrasoundRegions": [region(0.02), region(0.03)]}, None, False),
        ({"SequenceOfUltrasoundRegions": [region(0.02, PhysicalUnitsXDirection=4)]}, None, False),
        (
            {"SharedFunctionalGroupsSequence": [of(PixelMeasuresSequence=[of(PixelSpacing=[2, 3])])]},
            (2, 3),
            False,
        ),
    ],
)
def test_millimetres_of_a_dicom_file(tmp_path, stated, spacing, at_detector):
    found = read(tmp_path, **stated)
    assert found.spacing == (None if spacing is None else pytest.approx(spacing))
    assert found.at_detector is at_detector


@pytest.mark.parametrize(
    ("stated", "unit"),
    [
        ({"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -1024}, "HU"),
        ({"Modality": "CT"}, ""),  # without a rescaling its values are whatever the scanner stores
        ({"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": 0, "RescaleType": "US"}, ""),
        ({"Modality": "PT", "Units": "BQML"}, "Bq/ml"),
        ({"Modality": "MR"}, ""),
    ],
)
def test_the_unit_of_values_is_named_where_the_file_does(tmp_path, stated, unit):
    found = read(tmp_path, **stated)
    assert (found.unit, found.modality) == (unit, stated["Modality"])


def test_the_windows_that_a_file_states(tmp_path):
    assert read(tmp_path, WindowCenter=[40, 300], WindowWidth=[80, 1500]).windows == ((0, 80), (-450, 1050))
    assert read(tmp_path, WindowCenter=40, WindowWidth=80, VOILUTFunction="SIGMOID").windows == ()
    assert read(tmp_path, WindowCenter=40).windows == ()


@pytest.mark.parametrize(("unit", "in_mm"), [("mm", 1), ("micron", 0.001), ("meter", 1000), ("unknown", 1)])
def test_millimetres_of_a_slice_of_nifti(tmp_path, unit, in_mm):
    """Of 2 x 3 x 8 the largest step parts the slices; rows lie from front to back, columns from right to left."""
    path = tmp_path / "head.nii"
    values = np.zeros((16, 20, 12), np.int16)
    affine = LPS @ np.diag([2, 3, 8, 1])
    path.write_bytes(nifti_bytes(values, affine, xyzt_units=nibabel.nifti1.unit_codes.code[unit]))
    part = find_images([str(path)])[0]
    assert measures_of(path, str(part), part.label).spacing == pytest.approx((3 * in_mm, 2 * in_mm))


def test_nothing_is_known_of_what_cannot_be_read_or_states_nothing(tmp_path):
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(dicom_bytes(GRAY)[:200])
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n")
    assert measures_of(broken, "broken.dcm") == measures_of(picture, "picture.png") == Measures()
