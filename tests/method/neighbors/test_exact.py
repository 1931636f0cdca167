import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from msde.method.neighbors import exact
from msde.method.neighbors.exact import ExactIndex


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_neighbors_are_those_of_scikit_learn(rng, dtype):
    rows, queries = rng.normal(size=(300, 20)).astype(dtype), rng.normal(size=(50, 20)).astype(dtype)
    reference = NearestNeighbors(n_neighbors=7, algorithm="brute").fit(rows.astype(float))
    expected_distances, expected = reference.kneighbors(queries.astype(float))
    distances, found = ExactIndex.build(rows).query_distances(queries, 7)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(distances, expected_distances, rtol=1e-6)


def test_blocks_do_not_change_the_answer(rng, monkeypatch):
    rows = rng.normal(size=(200, 5))
    whole = ExactIndex.build(rows).query(rows, 9)
    monkeypatch.setattr(exact, "BLOCK_BYTES", 4000)
    monkeypatch.setattr(exact, "FEWEST_QUERIES", 3)
    np.testing.assert_array_equal(np.sort(ExactIndex.build(rows).query(rows, 9)), np.sort(whole))


def test_ties_go_to_the_lower_row_number():
    rows = np.zeros((20, 3), dtype=np.float32)
    found = ExactIndex.build(rows).query(rows[:2], 4)
    np.testing.assert_array_equal(np.sort(found), [[0, 1, 2, 3]] * 2)


def test_a_float32_cloud_far_from_the_origin_keeps_its_exact_neighbors(rng):
    rows = (1000 + rng.normal(size=(200, 64))).astype(np.float32)
    expected = (
        NearestNeighbors(n_neighbors=5, algorithm="brute").fit(rows.astype(float)).kneighbors(rows.astype(float))[1]
    )
    np.testing.assert_array_equal(ExactIndex.build(rows).query_distances(rows, 5)[1], expected)


def test_asking_for_more_than_there_are_gives_all():
    np.testing.assert_array_equal(ExactIndex.build(np.eye(3)).query(np.eye(3)[:1], 50), [[0, 1, 2]])


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 12))
def test_a_query_does_not_depend_on_its_batch(seed, n_queries, k):
    rng = np.random.default_rng(seed)
    # A coarse grid makes many ties.
    rows = rng.integers(0, 3, size=(130, 4)).astype(np.float32)
    queries = rng.integers(0, 3, size=(n_queries, 4)).astype(np.float32)
    index = ExactIndex.build(rows)
    alone = np.vstack([index.query(query[None], k) for query in queries])
    np.testing.assert_array_equal(np.sort(index.query(queries, k)), np.sort(alone))
