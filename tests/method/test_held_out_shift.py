import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msde.method.frozen_shift import FrozenShift
from msde.method.held_out_shift import HeldOutShift

seeds = st.integers(0, 2**32 - 1)
SHAPES = [(40, 120), (90, 6)]  # fewer normals than dimensions, and more


def path_of(normals, most=600, weighting="density"):
    shift, _, axes = FrozenShift.fit(normals, max_landmarks=most, weighting=weighting)
    return shift, axes, HeldOutShift.of(shift, normals, lambda rows: rows)


@given(seeds, st.sampled_from(SHAPES))
@settings(max_examples=10)
def test_all_together_move_as_along_the_frozen_path(seed, shape):
    normals = np.random.default_rng(seed).normal(size=shape)
    shift, axes, (_, moved, pulls) = path_of(normals)
    everywhere = moved if axes is None else moved @ axes.T
    np.testing.assert_allclose(everywhere, shift.displacement(normals), atol=1e-5)
    np.testing.assert_allclose(pulls.shares.sum(axis=1), 1, atol=1e-4)
    assert (pulls.shares >= 0).all()


@given(seeds, st.integers(1, 4))
@settings(max_examples=10)
def test_nothing_of_a_held_out_group_is_left_in_the_path_that_it_follows(seed, size):
    """What a row keeps of itself aside, it ends in the space that the others span."""
    normals = np.random.default_rng(seed).normal(size=(40, 120))
    groups = np.arange(len(normals)) // size
    shift, axes, (path, moved, _) = path_of(normals, weighting="uniform")  # each pulls, itself too
    out = groups == 0
    there = path.displacement(normals[out], groups[out], groups[path.landmarks]) @ axes.T
    kept = (1 - shift.learning_rate) ** len(shift.layers)
    others = normals[~out] - normals[-1]

    def beyond_the_others(displacement):
        pulled = (displacement + (1 - kept) * normals[out]) / (1 - kept) - normals[-1]
        return np.linalg.norm(pulled - np.linalg.lstsq(others.T, pulled.T, rcond=None)[0].T @ others)

    assert beyond_the_others(there) < 0.01 * np.linalg.norm(normals[out])
    assert beyond_the_others(moved[out] @ axes.T) > 3 * beyond_the_others(there)


@given(seeds)
@settings(max_examples=5)
def test_a_row_moves_about_as_along_the_path_of_the_others_alone(seed):
    normals = np.random.default_rng(seed).normal(size=(150, 6))
    groups = np.arange(len(normals)) // 2
    _, _, (path, _, _) = path_of(normals)
    out = groups == groups[-1]
    there = path.displacement(normals[out], groups[out], groups[path.landmarks])
    alone = FrozenShift.fit(normals[~out])[0].displacement(normals[out])
    assert np.linalg.norm(there - alone) < 0.25 * np.linalg.norm(alone)


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_that_took_no_path_move_as_if_all_were_there(rng, shape):
    normals = rng.normal(size=shape)
    shift, _, (path, moved, pulls) = path_of(normals, most=20)
    outside = np.setdiff1d(np.arange(len(normals)), path.landmarks)
    groups = np.arange(len(normals))
    there = path.displacement(normals[outside], groups[outside], groups[path.landmarks])
    np.testing.assert_allclose(there, moved[outside], atol=1e-5)
    assert (pulls.shares[outside].sum(axis=1) < 1).all()
    np.testing.assert_array_equal(pulls.pulling, path.landmarks)
    assert shift.layers.shape[1] == 20
