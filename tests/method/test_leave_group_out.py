import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msde.method import leave_group_out
from msde.method.gaussian import fit_ledoit_wolf
from msde.method.leave_group_out import LeaveGroupOut, Pulls

seeds = st.integers(0, 2**32 - 1)
SHAPES = [(40, 120), (90, 6), (40, 40), (9, 30), (60, 2), (30, 29)]


def distances_without_own_group(rows, groups):
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    whole = LeaveGroupOut.of(rows.copy(), None, Pulls.none(len(rows)))
    return whole.distances(members, lambda block: (rows[block.ravel()], np.zeros((1, 1))))


def rows_and_groups(seed, shape, n_groups):
    rng = np.random.default_rng(seed)
    groups = np.append([0, 1], rng.integers(n_groups, size=shape[0] - 2))
    spread = rng.lognormal(sigma=rng.uniform(0, 2), size=shape[1])
    together = rng.normal(size=(n_groups, shape[1]))[groups] * rng.uniform(0, 2)
    return (together + rng.normal(size=shape)) * spread + rng.normal(size=shape[1]) * 3, groups


@given(seeds, st.sampled_from(SHAPES), st.integers(2, 40))
@settings(max_examples=60)
def test_leaving_a_group_out_is_fitting_without_it(seed, shape, n_groups):
    rows, groups = rows_and_groups(seed, shape, n_groups)
    distances = distances_without_own_group(rows, groups)
    for group in np.unique(groups)[:8]:
        out = groups == group
        if np.sum(~out) < 4:
            continue
        expected = fit_ledoit_wolf(rows[~out]).mahalanobis(rows[out])
        np.testing.assert_allclose(distances[out], expected, rtol=1e-6)


@pytest.mark.parametrize("rows", [np.ones((9, 4)), np.eye(3), np.zeros((5, 1)), np.repeat(np.eye(4), 3, axis=0)])
def test_rows_without_variance_have_finite_distances(rows):
    distances = distances_without_own_group(rows, np.arange(len(rows)) // 2)
    assert np.isfinite(distances).all()
    assert (distances >= 0).all()


@pytest.mark.parametrize("kind", ["alone", "several"])
def test_large_groups_are_left_out_of_the_matrix_to_the_same_numbers(rng, kind, monkeypatch):
    rows = rng.normal(size=(60, 20)) * np.arange(1, 21)
    shares = np.hstack([rng.uniform(0, 0.1, size=(60, 30)), np.zeros((60, 1))])
    members = np.split(np.arange(60), {"alone": [20], "several": [10, 20, 30]}[kind])
    moved = rows + rng.normal(size=rows.shape)

    def distances():
        whole = LeaveGroupOut.of(rows.copy(), None, Pulls(shares, np.arange(0, 60, 2)))
        return whole.distances(members, lambda block: (moved[block.ravel()], np.full((1, 1), 0.1)))

    found = []
    for few_times in (0, 1e9):
        monkeypatch.setattr(leave_group_out, "_FEW_TIMES", few_times)
        found.append(distances())
    np.testing.assert_allclose(found[1], found[0], rtol=1e-9)
