import numpy as np
import pytest

from msde.method.siblings import nearness


def patients(rng, n_patients, size, alike, dim=60):
    own = np.repeat(rng.normal(size=(n_patients, dim)), size, axis=0)
    return np.sqrt(alike) * own + np.sqrt(1 - alike) * rng.normal(size=(n_patients * size, dim))


@pytest.mark.parametrize(("alike", "tells"), [(0.0, False), (0.1, False), (0.6, True), (0.9, True)])
def test_images_of_a_patient_are_told_by_how_near_they_are(rng, alike, tells):
    rows = patients(rng, 30, 10, alike)
    found = nearness(rows, np.arange(300) // 30)
    assert found.tells == tells
    assert found.all_rows >= found.other_groups


def test_where_patients_are_mixed_nothing_can_be_told(rng):
    rows = patients(rng, 30, 10, 0.9)[rng.permutation(300)]
    assert not nearness(rows, np.arange(300) // 30).tells


def test_only_some_of_many_rows_are_compared_with_all(rng, monkeypatch):
    rows = patients(rng, 60, 10, 0.6)
    groups = np.arange(600) // 60
    whole = nearness(rows, groups)
    monkeypatch.setattr("msde.method.siblings.MOST_COMPARED", 100)
    assert nearness(rows, groups) == pytest.approx(whole, abs=0.05)


def test_rows_of_nothing_are_near_to_none():
    assert nearness(np.zeros((4, 3)), np.arange(4)) == (0, 0)
