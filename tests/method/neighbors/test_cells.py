import numpy as np
import pytest

from msde.method.arrays import evenly_spaced
from msde.method.neighbors.cells import CellIndex
from msde.method.neighbors.exact import ExactIndex
from msde.method.neighbors.sketch import recall


def clusters(rng, n, d=80, dtype=np.float32):
    centers = 3 * rng.normal(size=(10, d))
    return (centers[rng.integers(10, size=n)] + rng.normal(size=(n, 8)) @ rng.normal(size=(8, d)) / 3).astype(dtype)


def cells(rows, k):
    exact, sample = ExactIndex.build(rows), rows[evenly_spaced(len(rows), 256)]
    return CellIndex.build(rows, sample, exact.query(sample, min(k, len(rows))), 0.97)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cells_find_most_neighbors_of_rows_and_of_strangers(rng, dtype):
    rows = clusters(rng, 4500, dtype=dtype)
    rows, strangers = rows[:4000], rows[4000:]
    index = cells(rows, 20)
    assert index.n_probes < len(index.centers) / 2
    for queries in (rows, strangers):
        assert recall(ExactIndex.build(rows).query(queries, 20), index.query(queries, 20)) >= 0.95


def test_a_reference_row_is_among_its_own_neighbors_in_its_cells(rng):
    rows = clusters(rng, 2000)
    distances, found = cells(rows, 10).query_distances(rows, 10)
    np.testing.assert_array_equal(found[:, 0], np.arange(2000))
    np.testing.assert_allclose(distances[:, 0], 0)


def test_the_cells_of_a_query_do_not_depend_on_its_batch(rng):
    rows = clusters(rng, 1500)
    index = cells(rows, 10)
    together = index.query(rows[:200], 10)
    alone = np.vstack([index.query(row[None], 10) for row in rows[:200]])
    np.testing.assert_array_equal(np.sort(together), np.sort(alone))


def test_cells_give_as_many_neighbors_as_asked_for_even_beyond_those_tuned_for(rng):
    rows = clusters(rng, 1000)
    index = cells(rows, 2)
    for k in (1, 500, 1000, 2000):
        found = index.query(rows[:20], k)
        assert found.shape == (20, min(k, 1000))
        assert all(len(np.unique(row)) == len(row) for row in found)


def test_equal_rows_are_indexed_by_cells_too():
    index = cells(np.ones((300, 4), dtype=np.float32), 5)
    np.testing.assert_array_equal(np.sort(index.query(np.ones((1, 4), dtype=np.float32), 5)), [[0, 1, 2, 3, 4]])


def test_no_queries_have_no_neighbors(rng):
    rows = clusters(rng, 300)
    assert cells(rows, 5).query(rows[:0], 5).shape == (0, 5)


def test_cells_of_other_positions_keep_the_recall(rng):
    rows = clusters(rng, 3000)
    moved = rows + 0.3 * (rows.mean(axis=0) - rows)
    found = cells(rows, 15).rebuilt(moved).query(moved, 15)
    assert recall(ExactIndex.build(moved).query(moved, 15), found) >= 0.95
