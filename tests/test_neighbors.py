import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from msde.neighbors import CellIndex, NeighborIndex, build_index, evenly_spaced


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_neighbors_are_those_of_scikit_learn(rng, dtype):
    rows, queries = rng.normal(size=(300, 20)).astype(dtype), rng.normal(size=(50, 20)).astype(dtype)
    reference = NearestNeighbors(n_neighbors=7, algorithm="brute").fit(rows.astype(float))
    expected_distances, expected = reference.kneighbors(queries.astype(float))
    distances, found = NeighborIndex.build(rows).query_distances(queries, 7)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(distances, expected_distances, rtol=1e-6)


def test_blocks_do_not_change_the_answer(rng, monkeypatch):
    rows = rng.normal(size=(200, 5))
    whole = NeighborIndex.build(rows).query(rows, 9)
    monkeypatch.setattr("msde.neighbors._BLOCK_BYTES", 4000)
    np.testing.assert_array_equal(np.sort(NeighborIndex.build(rows).query(rows, 9)), np.sort(whole))


def test_ties_go_to_the_lower_row_number():
    rows = np.zeros((20, 3), dtype=np.float32)
    found = NeighborIndex.build(rows).query(rows[:2], 4)
    np.testing.assert_array_equal(np.sort(found), [[0, 1, 2, 3]] * 2)


def test_a_float32_cloud_far_from_the_origin_keeps_its_exact_neighbors(rng):
    rows = (1000 + rng.normal(size=(200, 64))).astype(np.float32)
    expected = (
        NearestNeighbors(n_neighbors=5, algorithm="brute").fit(rows.astype(float)).kneighbors(rows.astype(float))[1]
    )
    np.testing.assert_array_equal(NeighborIndex.build(rows).query_distances(rows, 5)[1], expected)


def test_asking_for_more_than_there_are_gives_all():
    np.testing.assert_array_equal(NeighborIndex.build(np.eye(3)).query(np.eye(3)[:1], 50), [[0, 1, 2]])


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 12))
def test_a_query_does_not_depend_on_its_batch(seed, n_queries, k):
    rng = np.random.default_rng(seed)
    # A coarse grid makes many ties.
    rows = rng.integers(0, 3, size=(130, 4)).astype(np.float32)
    queries = rng.integers(0, 3, size=(n_queries, 4)).astype(np.float32)
    index = NeighborIndex.build(rows)
    alone = np.vstack([index.query(query[None], k) for query in queries])
    np.testing.assert_array_equal(np.sort(index.query(queries, k)), np.sort(alone))


def clusters(rng, n, d=80, dtype=np.float32):
    centers = 3 * rng.normal(size=(10, d))
    return (centers[rng.integers(10, size=n)] + rng.normal(size=(n, 8)) @ rng.normal(size=(8, d)) / 3).astype(dtype)


def recall(rows, queries, index, k):
    truth, found = NeighborIndex.build(rows).query(queries, k), index.query(queries, k)
    return np.mean([len(np.intersect1d(*pair)) / k for pair in zip(truth, found, strict=True)])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cells_find_most_neighbors_of_rows_and_of_strangers(rng, dtype):
    rows = clusters(rng, 4500, dtype=dtype)
    rows, strangers = rows[:4000], rows[4000:]
    index = CellIndex.build_for(rows, 20)
    assert index.n_probes < len(index.centers) / 2
    assert recall(rows, rows, index, 20) >= 0.95
    assert recall(rows, strangers, index, 20) >= 0.95


def test_a_reference_row_is_among_its_own_neighbors_in_its_cells(rng):
    rows = clusters(rng, 2000)
    distances, found = CellIndex.build_for(rows, 10).query_distances(rows, 10)
    np.testing.assert_array_equal(found[:, 0], np.arange(2000))
    np.testing.assert_allclose(distances[:, 0], 0)


def test_the_cells_of_a_query_do_not_depend_on_its_batch(rng):
    rows = clusters(rng, 1500)
    index = CellIndex.build_for(rows, 10)
    together = index.query(rows[:200], 10)
    alone = np.vstack([index.query(row[None], 10) for row in rows[:200]])
    np.testing.assert_array_equal(np.sort(together), np.sort(alone))


def test_cells_give_as_many_neighbors_as_asked_for_even_beyond_those_tuned_for(rng):
    rows = clusters(rng, 1000)
    index = CellIndex.build_for(rows, 2)
    for k in (1, 500, 1000, 2000):
        found = index.query(rows[:20], k)
        assert found.shape == (20, min(k, 1000))
        assert all(len(np.unique(row)) == len(row) for row in found)


def test_equal_rows_are_indexed_by_cells_too():
    index = CellIndex.build_for(np.ones((300, 4), dtype=np.float32), 5)
    np.testing.assert_array_equal(np.sort(index.query(np.ones((1, 4), dtype=np.float32), 5)), [[0, 1, 2, 3, 4]])


def test_no_queries_have_no_neighbors(rng):
    rows = clusters(rng, 300)
    assert CellIndex.build_for(rows, 5).query(rows[:0], 5).shape == (0, 5)


def test_only_many_rows_are_indexed_by_cells(rng, monkeypatch):
    monkeypatch.setattr("msde.neighbors.EXACT_ROWS", 300)
    assert type(build_index(rng.normal(size=(300, 3)), 5)) is NeighborIndex
    assert type(build_index(rng.normal(size=(301, 3)), 5)) is CellIndex


@given(st.integers(1, 1000), st.integers(1, 1000))
def test_evenly_spaced_rows_are_distinct_and_reach_both_ends(n, most):
    chosen = evenly_spaced(n, most)
    assert len(np.unique(chosen)) == min(n, most)
    assert chosen[0] == 0
    assert most == 1 or chosen[-1] == n - 1
