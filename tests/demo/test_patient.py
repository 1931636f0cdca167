from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from msde.demo.patient import SIDE, Patient, smooth_field


@pytest.fixture(scope="module")
def scans(template: NDArray[np.float32]) -> NDArray[np.uint8]:
    patients = [Patient.draw(np.random.default_rng((7, i))) for i in range(40)]
    return np.stack([patient.scan(patient.anatomy(template)) for patient in patients])


@pytest.mark.slow
@pytest.mark.parametrize("cells", [2, 5, 13, 40])
def test_fields_are_smooth_and_have_the_deviation_asked_for(cells: int) -> None:
    rng = np.random.default_rng(0)
    fields = np.stack([smooth_field(rng, cells, 3.0) for _ in range(200)])
    assert fields.shape == (200, SIDE, SIDE)
    np.testing.assert_allclose(fields.std(axis=0).mean(), 3.0, rtol=0.05)
    assert np.diff(fields, axis=1).std() < 3.0 * 2 * cells / SIDE


def test_one_seed_gives_one_patient(template: NDArray[np.float32], scans: NDArray[np.uint8]) -> None:
    again = Patient.draw(np.random.default_rng((7, 3)))
    np.testing.assert_array_equal(again.scan(again.anatomy(template)), scans[3])
    assert len(np.unique(scans.reshape(len(scans), -1), axis=0)) == len(scans)


def test_the_whole_brain_is_in_the_picture_on_black(scans: NDArray[np.uint8]) -> None:
    edge = np.ones((SIDE, SIDE), bool)
    edge[3:-3, 3:-3] = False
    assert scans[:, edge].max() == 0
    share = (scans > 20).mean(axis=(1, 2))
    assert share.min() > 0.28
    assert share.max() < 0.6


def test_contrast_is_that_of_t1(scans: NDArray[np.uint8]) -> None:
    brain = [scan[scan > 20] for scan in scans]
    white = np.array([np.percentile(values, 90) for values in brain])
    fluid = np.array([np.percentile(values, 1) for values in brain])
    assert white.min() > 130
    assert white.max() < 250
    assert (fluid < 0.65 * white).all()


def test_the_front_is_up_and_the_right_side_is_left(template: NDArray[np.float32]) -> None:
    right, front, up = Patient.draw(np.random.default_rng(0)).coordinates
    assert right[100, 20] > right[100, 200] + 100
    assert front[20, 100] > front[200, 100] + 100
    assert up.min() > 50
    assert up.max() < 120
