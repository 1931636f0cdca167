import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.requirements import need

from msde.method import density_weights as weights_module
from msde.method.density_weights import _DenseDistances, _Lengths, _SparseDistances, density_weights, fuzzy_graph


def umap_graph(rows, n_neighbors=15):
    need("umap")
    from sklearn.neighbors import NearestNeighbors
    from umap.umap_ import fuzzy_simplicial_set

    distances, indices = NearestNeighbors(n_neighbors=n_neighbors).fit(rows).kneighbors(rows)
    graph, _, _ = fuzzy_simplicial_set(
        rows,
        n_neighbors=n_neighbors,
        random_state=0,
        metric="euclidean",
        knn_indices=indices,
        knn_dists=distances.astype(np.float32),
        set_op_mix_ratio=1.0,
        local_connectivity=1.0,
    )
    return graph.toarray()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # numba's and umap's own
@pytest.mark.parametrize("n_neighbors", [5, 15])
def test_the_fuzzy_graph_is_that_of_umap(rng, n_neighbors):
    rows = rng.normal(size=(200, 10)) * rng.lognormal(size=(200, 1))
    np.testing.assert_allclose(fuzzy_graph(rows, n_neighbors).toarray(), umap_graph(rows, n_neighbors), atol=2e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_fuzzy_graph_of_rows_with_duplicates_is_that_of_umap(rng):
    rows = np.repeat(rng.normal(size=(40, 6)), 3, axis=0) + np.repeat(rng.normal(size=(120, 1)) * 1e-3, 6, axis=1)
    np.testing.assert_allclose(fuzzy_graph(rows).toarray(), umap_graph(rows), atol=2e-5)


def test_the_fuzzy_graph_is_symmetric_without_loops(rng):
    graph = fuzzy_graph(rng.normal(size=(80, 4))).toarray()
    np.testing.assert_array_equal(graph, graph.T)
    assert np.all(np.diag(graph) == 0)
    assert graph.min() >= 0
    assert graph.max() <= 1


@given(st.integers(0, 2**32 - 1), st.integers(3, 150), st.floats(0, 2))
@settings(max_examples=25)
def test_sparse_and_dense_counts_agree(seed, n, radius):
    graph = fuzzy_graph(np.random.default_rng(seed).normal(size=(n, 5)))
    dense, sparse = _DenseDistances.between(graph), _SparseDistances.between(graph, _Lengths.of(graph), np.arange(n))
    np.testing.assert_array_equal(sparse.count(radius), dense.count(radius))
    assert sparse.largest >= dense.largest - 1e-12


def test_distances_of_some_rows_are_those_of_all(rng):
    graph = fuzzy_graph(rng.normal(size=(150, 5)))
    lengths, some = _Lengths.of(graph), np.array([3, 50, 149])
    of_some, of_all = (_SparseDistances.between(graph, lengths, rows).count(1.1) for rows in (some, np.arange(150)))
    np.testing.assert_array_equal(of_some, of_all[some])


def test_the_radius_of_a_sample_gives_nearly_the_weights_of_all(rng, monkeypatch):
    rows = rng.normal(size=(1500, 6))
    whole = density_weights(rows)
    monkeypatch.setattr(weights_module, "RADIUS_ROWS", 400)
    sampled = density_weights(rows)
    assert np.corrcoef(whole, sampled)[0, 1] > 0.99
    np.testing.assert_allclose(sampled.mean(), whole.mean(), rtol=0.1)


def test_the_default_weights_do_not_depend_on_the_order_of_the_rows(rng):
    rows = rng.normal(size=(260, 6))
    order = rng.permutation(len(rows))
    np.testing.assert_array_equal(density_weights(rows[order]), density_weights(rows)[order])


def test_the_published_weights_do(rng):
    rows = rng.normal(size=(260, 6))
    order = rng.permutation(len(rows))
    assert np.any(density_weights(rows[order], "published") != density_weights(rows, "published")[order])


@pytest.mark.parametrize("weighting", ["density", "published", "uniform"])
@pytest.mark.parametrize("n", [2, 3, 14, 15, 16, 45, 46, 100, 101])
def test_every_number_of_rows_has_weights(rng, n, weighting):
    weights = density_weights(rng.normal(size=(n, 3)), weighting)
    assert weights.shape == (n,)
    assert np.all(np.isfinite(weights))
    assert np.all(weights >= 0)


@pytest.mark.parametrize("weighting", ["density", "published", "uniform"])
def test_identical_rows_have_equal_finite_weights(weighting):
    weights = density_weights(np.ones((60, 3)), weighting)
    assert np.all(np.isfinite(weights))


def test_an_unknown_weighting_is_named():
    with pytest.raises(ValueError, match="'heavy'"):
        density_weights(np.eye(3), "heavy")  # type: ignore[arg-type]


def test_the_graph_is_exactly_symmetric(rng):
    """Its product with itself stands for that with its transpose."""
    graph = fuzzy_graph(rng.normal(size=(400, 5)).astype(np.float32))
    assert (graph != graph.T).nnz == 0
