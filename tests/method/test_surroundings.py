import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msde.method.gaussian import fit_ridged
from msde.method.surroundings import NEIGHBORS, Surroundings, relative


def surroundings_of(rows):
    return Surroundings.of(rows, fit_ridged(rows, 0.001))


@given(st.integers(1, 200), st.integers(1, 6), st.integers(0, 5))
def test_few_normals_have_a_third_near_and_many_fifty(n, d, seed):
    rows = np.random.default_rng(seed).normal(size=(n, d))
    near = surroundings_of(rows).near(rows[:4])
    assert near.shape == (min(4, n), max(1, min(NEIGHBORS, n // 3)))
    assert all(len(set(row)) == len(row) for row in near)


def test_two_sources_are_told_apart(rng):
    rows = rng.normal(size=(120, 30))
    rows[60:, 3] += 10
    near = surroundings_of(rows).near(rows + 0.1)
    assert (near[:60] < 60).all()
    assert (near[60:] >= 60).all()


def test_a_row_has_the_same_surroundings_alone_and_among_others(rng):
    surroundings = surroundings_of(rng.normal(size=(70, 9)))
    rows = rng.normal(size=(300, 9))
    np.testing.assert_array_equal(surroundings.near(rows), np.vstack([surroundings.near(row[None]) for row in rows]))


def test_axes_are_the_main_ones_whether_rows_or_columns_are_more(rng):
    rows = rng.normal(size=(50, 8)) * np.array([9, 1, 1, 5, 1, 1, 1, 1])
    wide = np.hstack([rows, np.zeros((50, 100))])
    for given_rows in (rows, wide):
        axes = surroundings_of(given_rows).axes
        np.testing.assert_allclose(axes.T @ axes, np.eye(2), atol=1e-9)
        assert (axes[[0, 3]] ** 2).sum() > 1.9


def test_constant_rows_have_surroundings_too():
    surroundings = surroundings_of(np.ones((30, 4)))
    assert surroundings.near(np.ones((2, 4))).shape == (2, 10)


def test_a_likeness_is_set_against_those_near_by(rng):
    of_near = rng.normal(3, 2, size=(5, 400))
    np.testing.assert_allclose(relative(np.full(5, 5.0), of_near, 0.0), 1, atol=0.2)
    assert np.isfinite(relative(np.ones(3), np.ones((3, 4)), 0.0)).all()
    assert (relative(np.full(5, 5.0), of_near, 40.0) < relative(np.full(5, 5.0), of_near, 0.0)).all()


def test_sources_that_are_unevenly_like_the_labels_are_put_on_one_scale(rng):
    rows = rng.normal(size=(400, 10))
    rows[200:, 0] += 20
    likeness = np.concatenate([rng.normal(2, 1, size=200), rng.normal(0, 0.2, size=200)])
    near = surroundings_of(rows).near(rows)
    for source in (slice(0, 200), slice(200, 400)):
        compared = relative(likeness[source], likeness[near[source]], 0.0)
        assert abs(compared.mean()) < 0.3
        assert 0.8 < compared.std() < 1.3


@pytest.mark.parametrize(
    "damage",
    [
        {"axes": np.ones(3)},
        {"places": np.ones((5, 3))},
        {"places": np.ones((0, 2))},
        {"centre": np.ones(4)},
        {"centre": np.full(3, np.nan)},
    ],
)
def test_damaged_surroundings_are_refused(damage):
    values = {"centre": np.zeros(3), "axes": np.eye(3)[:, :2], "places": np.zeros((5, 2))}
    with pytest.raises(ValueError, match="surroundings"):
        Surroundings(**{**values, **damage})
