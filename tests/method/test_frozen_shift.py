from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace

import numpy as np
import pytest
import threadpoolctl
from hypothesis import given, settings
from hypothesis import strategies as st

from msde.method import parallel
from msde.method.density_weights import WEIGHTINGS, density_weights
from msde.method.frozen_shift import FrozenShift
from msde.method.gaussian import fit_ledoit_wolf
from msde.method.mean_shift import shift

seeds = st.integers(0, 2**32 - 1)
SHAPES = [(40, 120), (90, 6)]  # fewer normals than dimensions, and more


def finely(frozen, normals):
    """Keep the layers in single precision, to compare with what was computed in it."""
    offsets = (normals - frozen.centre) @ frozen.axes
    path, _, _ = shift(offsets.astype(np.float32), frozen.weights, n_neighbors=frozen.n_neighbors)
    return replace(frozen, layers=np.stack(path.positions))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_it_is_the_frozen_trajectory_of_all_dimensions(rng, shape, weighting):
    normals, queries = rng.normal(size=shape), rng.normal(size=(30, shape[1])) * 2
    frozen, displacement, axes = FrozenShift.fit(normals, weighting=weighting)
    gaussian = fit_ledoit_wolf(displacement, axes)
    path, shifted, _ = shift(normals, density_weights(normals, weighting), n_neighbors=frozen.n_neighbors)
    expected = fit_ledoit_wolf(shifted - normals)
    np.testing.assert_allclose(gaussian.mahalanobis(queries), expected.mahalanobis(queries), rtol=2e-3)
    followed = path.follow(queries)[0] - queries
    np.testing.assert_allclose(finely(frozen, normals).displacement(queries), followed, atol=1e-4)
    off = np.linalg.norm(frozen.displacement(queries) - followed, axis=1)
    assert np.median(off) < 1e-3 * np.median(np.linalg.norm(followed, axis=1))


@pytest.mark.slow
@given(seeds, st.sampled_from(SHAPES), st.integers(1, 20))
@settings(max_examples=25)
def test_a_row_moves_the_same_alone_in_any_batch_and_in_any_order(seed, shape, n_queries):
    rng = np.random.default_rng(seed)
    frozen, *_ = FrozenShift.fit(rng.normal(size=shape))
    queries = rng.normal(size=(n_queries, shape[1])) * rng.uniform(0, 5)
    together = frozen.displacement(queries)
    np.testing.assert_allclose(
        np.vstack([frozen.displacement(query[None]) for query in queries]), together, rtol=0, atol=1e-9
    )
    order = rng.permutation(n_queries)
    np.testing.assert_allclose(frozen.displacement(queries[order]), together[order], rtol=0, atol=1e-9)


@pytest.mark.slow
@given(seeds)
@settings(max_examples=25)
def test_neighbours_at_equal_distances_are_the_same_in_any_batch(seed):
    rng = np.random.default_rng(seed)
    frozen, *_ = FrozenShift.fit(rng.integers(-2, 3, size=(60, 3)).astype(float))
    queries = rng.integers(-3, 4, size=(20, 3)).astype(float)
    alone = np.vstack([frozen.displacement(query[None]) for query in queries])
    np.testing.assert_allclose(frozen.displacement(queries), alone, rtol=0, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_one_and_two_threads_move_rows_alike(rng, monkeypatch, shape):
    normals, queries = rng.normal(size=shape), rng.normal(size=(50, shape[1]))
    moved = []
    for threads in (1, 2):
        monkeypatch.setattr(parallel, "workers", lambda threads=threads: ThreadPoolExecutor(threads))
        with threadpoolctl.threadpool_limits(threads):
            moved.append(FrozenShift.fit(normals)[0].displacement(queries))
    one, two = moved
    np.testing.assert_allclose(one, two, atol=1e-6)


@pytest.mark.slow
@given(seeds, st.sampled_from([*SHAPES, (2, 5), (3, 1)]))
@settings(max_examples=25)
def test_a_training_row_follows_its_own_path(seed, shape):
    normals = np.random.default_rng(seed).normal(size=shape)
    normals -= normals.mean(axis=0)  # as standardised rows are: rows without weight move to the origin
    frozen, *_ = FrozenShift.fit(normals)
    own = shift(normals, density_weights(normals), n_neighbors=frozen.n_neighbors)[1] - normals
    off = np.linalg.norm(frozen.displacement(normals) - own, axis=1)
    assert np.median(off) <= 1e-3 * np.linalg.norm(own)


def test_moving_rows_changes_nothing_that_is_frozen(rng):
    frozen, *_ = FrozenShift.fit(rng.normal(size=(40, 70)))
    before = {field.name: np.array(getattr(frozen, field.name)) for field in fields(frozen)}
    queries = rng.normal(size=(9, 70))
    queries.flags.writeable = False
    frozen.displacement(queries)
    for name, values in before.items():
        np.testing.assert_array_equal(getattr(frozen, name), values)


def test_copies_of_normals_leave_axes_orthonormal(rng):
    normals = np.repeat(rng.normal(size=(10, 50)), 4, axis=0)
    frozen, displacement, axes = FrozenShift.fit(normals)
    assert frozen.axes.shape == (50, 9)
    np.testing.assert_allclose(frozen.axes.T @ frozen.axes, np.eye(9), atol=1e-5)
    assert np.isfinite(fit_ledoit_wolf(displacement, axes).mahalanobis(frozen.displacement(normals))).all()


def test_normals_that_are_all_alike_stay_and_others_come_to_them():
    frozen, *_ = FrozenShift.fit(np.ones((20, 4)))
    np.testing.assert_array_equal(frozen.displacement(np.ones((1, 4))), 0)
    moved = frozen.displacement(np.full((1, 4), 3.0))
    assert (moved < 0).all()
    assert (moved >= -2).all()


@pytest.mark.slow
def test_of_many_normals_landmarks_take_the_path_and_the_others_follow(rng):
    normals = rng.normal(size=(6, 30))[rng.integers(6, size=900)] * 4 + rng.normal(size=(900, 30))
    whole, frozen = (FrozenShift.fit(normals, max_landmarks=most)[0] for most in (900, 300))
    assert frozen.layers.shape[1:] == (300, 30)
    everywhere = whole.displacement(normals)
    off = np.linalg.norm(frozen.displacement(normals) - everywhere, axis=1)
    assert off.mean() < 0.5 * np.linalg.norm(everywhere, axis=1).mean()


@pytest.mark.parametrize(
    "change",
    [
        {"axes": np.zeros((4, 1), np.float32)},
        {"weights": np.ones(3, np.float32)},
        {"centre": np.full(4, np.nan)},
        {"n_neighbors": 0},
        {"learning_rate": 1.5},
    ],
)
def test_what_is_no_path_is_refused(rng, change):
    frozen, *_ = FrozenShift.fit(rng.normal(size=(9, 4)))
    with pytest.raises(ValueError, match="shift"):
        replace(frozen, **change)


def test_fewer_normals_than_dimensions_that_are_all_alike_stay(rng):
    frozen, displacement, axes = FrozenShift.fit(np.ones((4, 9)))
    np.testing.assert_array_equal(frozen.displacement(np.ones((2, 9))), 0)
    assert np.isfinite(
        fit_ledoit_wolf(displacement, axes).mahalanobis(frozen.displacement(rng.normal(size=(3, 9))))
    ).all()
