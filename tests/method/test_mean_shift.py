from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import threadpoolctl
from hypothesis import given, settings
from hypothesis import strategies as st

from msde.method import mean_shift, neighbors, parallel
from msde.method.mean_shift import shift
from msde.method.neighbors import sketch
from msde.method.neighbors.sketch import SketchIndex

seeds = st.integers(0, 2**32 - 1)


def naive_shift(rows, weights, k, rate, n_iter):
    """The method as written, row by row."""
    displacement = np.zeros(len(rows))
    for _ in range(n_iter):
        moved = rows.copy()
        for i, row in enumerate(rows):
            nearest = np.argsort(((rows - row) ** 2).sum(1), kind="stable")[:k]
            mean = (weights[nearest, None] * rows[nearest]).sum(0) / max(weights[nearest].sum(), 1e-6)
            change = np.sqrt(((mean - row) ** 2).sum())
            displacement[i] += change
            if change > 1e-6:
                moved[i] = row + rate * (mean - row)
        rows = moved
    return rows, displacement


def test_it_is_the_method_as_written(rng):
    rows, weights = rng.normal(size=(90, 5)), rng.uniform(size=90)
    _, shifted, displacement = shift(rows, weights, n_neighbors=12, max_iter=4, tol=0)
    expected, expected_displacement = naive_shift(rows, weights, 12, 0.33, 4)
    np.testing.assert_allclose(shifted, expected, atol=1e-12)
    np.testing.assert_allclose(displacement, expected_displacement, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_reference_row_follows_its_own_path(rng, dtype):
    rows = rng.normal(size=(120, 6)).astype(dtype)
    trajectory, shifted, displacement = shift(rows, np.ones(120), n_neighbors=15)
    followed, followed_displacement = trajectory.follow(rows)
    np.testing.assert_allclose(followed, shifted, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(followed_displacement, displacement, rtol=1e-5, atol=1e-5)
    assert shifted.dtype == dtype


@given(seeds, st.integers(1, 20))
@settings(max_examples=20)
def test_a_query_moves_the_same_in_any_batch(seed, n_queries):
    rng = np.random.default_rng(seed)
    trajectory, _, _ = shift(rng.normal(size=(60, 4)).astype(np.float32), rng.uniform(size=60), n_neighbors=8)
    queries = rng.normal(size=(n_queries, 4)).astype(np.float32)
    together, _ = trajectory.follow(queries)
    alone = np.vstack([trajectory.follow(query[None])[0] for query in queries])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    order = rng.permutation(n_queries)
    np.testing.assert_allclose(trajectory.follow(queries[order])[0], together[order], atol=1e-6)


@given(seeds)
@settings(max_examples=15)
def test_turning_and_moving_the_rows_turns_and_moves_the_result(seed):
    rng = np.random.default_rng(seed)
    rows, weights = rng.normal(size=(70, 4)), rng.uniform(size=70)
    turn, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    offset = rng.normal(size=4) * 10
    _, shifted, displacement = shift(rows, weights, n_neighbors=10)
    _, turned, turned_displacement = shift(rows @ turn + offset, weights, n_neighbors=10)
    np.testing.assert_allclose(turned, shifted @ turn + offset, atol=1e-8)
    np.testing.assert_allclose(turned_displacement, displacement, atol=1e-8)


def test_the_order_of_the_rows_does_not_matter(rng):
    rows, weights = rng.normal(size=(80, 4)), rng.uniform(size=80)
    order = rng.permutation(80)
    np.testing.assert_allclose(shift(rows[order], weights[order])[1], shift(rows, weights)[1][order], atol=1e-12)


def test_it_stops_when_the_rows_rest():
    trajectory, shifted, displacement = shift(np.ones((30, 3)), np.ones(30))
    assert len(trajectory.positions) == 1
    np.testing.assert_array_equal(shifted, np.ones((30, 3)))
    np.testing.assert_allclose(displacement, 0, atol=1e-12)


def test_rows_without_weight_around_them_move_towards_the_origin_as_published(rng):
    rows = rng.normal(size=(20, 3)) + 5
    _, shifted, _ = shift(rows, np.zeros(20), n_neighbors=5, max_iter=1)
    np.testing.assert_allclose(shifted, rows * (1 - 0.33))


def test_no_iterations_leave_the_rows_where_they_are(rng):
    rows = rng.normal(size=(10, 3))
    trajectory, shifted, _ = shift(rows, np.ones(10), max_iter=0)
    np.testing.assert_array_equal(shifted, rows)
    np.testing.assert_array_equal(trajectory.follow(rows)[0], rows)


def test_the_rows_given_are_not_written_to(rng):
    rows = rng.normal(size=(60, 4))
    rows.flags.writeable = False
    _, shifted, _ = shift(rows, np.ones(60))
    assert not np.shares_memory(shifted, rows)


def test_moving_some_columns_at_a_time_changes_nothing(rng, monkeypatch):
    rows, weights = rng.normal(size=(90, 50)), rng.uniform(size=90)
    rows[:20] = rows[0]
    _, whole, displacement = shift(rows, weights, n_neighbors=12)
    monkeypatch.setattr(mean_shift, "LEAST_COLUMNS", 3)
    monkeypatch.setattr(mean_shift, "COLUMN_BYTES", 1)
    _, parts, displacement_of_parts = shift(rows, weights, n_neighbors=12)
    np.testing.assert_allclose(parts, whole, atol=1e-12)
    np.testing.assert_allclose(displacement_of_parts, displacement, atol=1e-12)


def test_a_capped_trajectory_keeps_the_path_of_some_rows_as_all_rows_shape_it(rng):
    rows, weights = rng.normal(size=(100, 4)), rng.uniform(size=100)
    whole, shifted, _ = shift(rows, weights, n_neighbors=20, max_iter=4, tol=0)
    capped, shifted_alike, _ = shift(rows, weights, n_neighbors=20, max_iter=4, tol=0, max_references=25)
    np.testing.assert_array_equal(shifted_alike, shifted)
    assert [len(layer) for layer in capped.positions] == [25] * 4
    assert capped.n_neighbors == 10
    for layer, all_rows in zip(capped.positions, whole.positions, strict=True):
        kept = [np.flatnonzero((all_rows == row).all(axis=1))[0] for row in layer]
        np.testing.assert_array_equal(capped.weights, weights[kept])


@pytest.mark.slow
def test_following_some_references_comes_near_to_following_all(rng):
    rows = rng.normal(size=(6, 5))[rng.integers(6, size=3000)] * 4 + rng.normal(size=(3000, 5))
    rows, queries = rows[:2900], rows[2900:]
    whole, capped = (shift(rows, np.ones(2900), max_references=most)[0] for most in (None, 580))
    expected = whole.follow(queries)[0]
    off = np.linalg.norm(capped.follow(queries)[0] - expected, axis=1)
    assert off.mean() < 0.3 * np.linalg.norm(expected - queries, axis=1).mean()


@pytest.mark.slow
@pytest.mark.parametrize("n", [1500, 3000])
def test_one_and_two_threads_shift_alike(rng, monkeypatch, n):
    rows = (rng.normal(size=(n, 8)) @ rng.normal(size=(8, 64)) + 0.1 * rng.normal(size=(n, 64))).astype(np.float32)
    shifted = []
    for threads in (1, 2):
        monkeypatch.setattr(parallel, "workers", lambda threads=threads: ThreadPoolExecutor(threads))
        with threadpoolctl.threadpool_limits(threads):
            shifted.append(shift(rows, np.ones(n), max_iter=3)[1])
    np.testing.assert_allclose(shifted[0], shifted[1], atol=1e-6)


def test_approximate_neighbors_shift_nearly_like_exact_ones(rng, monkeypatch):
    rows = (3 * rng.normal(size=(8, 30)))[rng.integers(8, size=2500)]
    rows = (rows + rng.normal(size=(2500, 6)) @ rng.normal(size=(6, 30))).astype(np.float32)
    _, exact, _ = shift(rows, np.ones(2500), max_iter=4)
    monkeypatch.setattr(neighbors, "EXACT_ROWS", 1000)
    for module in (neighbors, sketch):
        monkeypatch.setattr(module, "CELL_ROWS", 1000)
    _, approximate, _ = shift(rows, np.ones(2500), max_iter=4)
    off = np.linalg.norm(approximate - exact, axis=1)
    assert 0 < off.mean() < 0.05 * np.linalg.norm(exact - rows, axis=1).mean()


def test_beyond_the_rows_of_the_plain_search_rows_shift_as_they_do_with_it(rng, monkeypatch):
    rows = (rng.normal(size=(4, 30))[rng.integers(4, size=2200)] + rng.normal(size=(2200, 30))).astype(np.float32)
    _, mutually, displacement = shift(rows, np.ones(2200), max_iter=4)
    monkeypatch.setattr(neighbors, "EXACT_ROWS", 3000)
    _, plainly, plain_displacement = shift(rows, np.ones(2200), max_iter=4)
    off = np.linalg.norm(mutually - plainly, axis=1)
    assert np.median(off) < 1e-5
    assert off.mean() < 1e-3 * np.linalg.norm(plainly - rows, axis=1).mean()
    np.testing.assert_allclose(displacement.mean(), plain_displacement.mean(), rtol=1e-4)


def test_rows_of_cells_side_by_side_shift_as_they_do_in_any_order(rng, monkeypatch):
    monkeypatch.setattr(neighbors, "EXACT_ROWS", 500)
    for module in (neighbors, sketch):
        monkeypatch.setattr(module, "CELL_ROWS", 500)
    rows = (3 * rng.normal(size=(8, 30)))[rng.integers(8, size=1500)]
    rows = (rows + rng.normal(size=(1500, 6)) @ rng.normal(size=(6, 30))).astype(np.float32)
    weights = rng.uniform(size=1500)
    given = rows.copy()
    trajectory, in_cells, displacement = shift(rows, weights, max_iter=3, max_references=100)
    monkeypatch.setattr(SketchIndex, "cell_by_cell", lambda index: (np.arange(1500), index))
    np.testing.assert_array_equal(rows, given)
    plain, as_given, plain_displacement = shift(given, weights, max_iter=3, max_references=100)
    np.testing.assert_allclose(in_cells, as_given, atol=1e-5)
    np.testing.assert_allclose(displacement, plain_displacement, rtol=1e-4)
    np.testing.assert_allclose(trajectory.positions[2], plain.positions[2], atol=1e-5)
    np.testing.assert_array_equal(trajectory.weights, plain.weights)
