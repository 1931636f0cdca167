from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from msde.demo.lesion import Lesion
from msde.demo.patient import SIDE, FloatArray, Patient

Example = tuple[Lesion, FloatArray, FloatArray]


@pytest.fixture(scope="module")
def examples(template: NDArray[np.float32]) -> list[Example]:
    """Give lesions with the anatomy before and after."""
    made = []
    for i in range(40):
        rng = np.random.default_rng((3, i))
        patient = Patient.draw(rng)
        lesion = Lesion.draw(rng, patient.anatomy(template) > 0.3)
        anatomy = patient.anatomy(template, lesion.displace(patient.coordinates))
        made.append((lesion, anatomy, lesion.paint(anatomy, np.zeros_like(anatomy))))
    return made


def test_lies_inside_the_brain(examples: list[Example]) -> None:
    for lesion, before, after in examples:
        mask = lesion.mask(before)
        assert mask.any()
        assert (before[mask] > 0).all()
        np.testing.assert_array_equal(before[before == 0], after[before == 0])


def test_changes_the_masked_part_and_hardly_the_rest(examples: list[Example]) -> None:
    for lesion, before, after in examples:
        change = np.abs(after - before)
        mask = lesion.mask(before)
        assert change[mask].mean() > 0.02
        far = lesion.distance > 1.5 * lesion.reach
        assert change[far].max() < 0.01


def test_sizes_and_contrasts_run_from_subtle_to_plain(examples: list[Example]) -> None:
    sizes = np.array([lesion.mask(before).sum() for lesion, before, _ in examples])
    contrast = np.array([np.abs(after - before)[lesion.distance < 0.9].mean() for lesion, before, after in examples])
    assert sizes.min() < 500
    assert sizes.max() > 1500
    assert contrast.min() < 0.12
    assert contrast.max() > 0.3
    assert len({lesion.kind for lesion, _, _ in examples}) == 3


def test_edges_are_soft(examples: list[Example]) -> None:
    for lesion, before, after in examples:
        change = after - before
        centre, wall = lesion.kind
        if abs(centre - wall) < 0.1:  # the inner edge of a small ring is steep
            assert np.abs(np.diff(change, axis=0)).max() < 0.7 * np.abs(change).max()
        assert lesion.radius >= 5


def test_pushes_tissue_outwards_and_only_nearby(examples: list[Example]) -> None:
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(float)
    grid = np.stack([np.zeros_like(rows), rows, columns])
    for lesion, _, _ in examples:
        _, source_rows, source_columns = lesion.displace(grid)
        before = np.hypot(rows - lesion.row, columns - lesion.column)
        after = np.hypot(source_rows - lesion.row, source_columns - lesion.column)
        assert (after <= before + 1e-9).all()
        far = before > 6 * lesion.radius
        np.testing.assert_allclose(after[far], before[far], atol=0.01)
