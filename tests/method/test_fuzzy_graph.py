import numpy as np
import pytest
from tests.requirements import need

from msde.method.fuzzy_graph import fuzzy_graph, fuzzy_graphs_of_blocks


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


def test_the_graph_is_exactly_symmetric(rng):
    """Its product with itself stands for that with its transpose."""
    graph = fuzzy_graph(rng.normal(size=(400, 5)).astype(np.float32))
    assert (graph != graph.T).nnz == 0


@pytest.mark.parametrize("n", [5, 14, 15, 100])
def test_graphs_of_blocks_are_those_of_each_block(rng, n):
    blocks = (rng.normal(size=(3, n, 12)) + 100).astype(np.float32)
    blocks[1, n // 2 :] = blocks[1, : n - n // 2]
    graphs = fuzzy_graphs_of_blocks(blocks)
    for graph, block in zip(graphs, blocks, strict=True):
        expected = fuzzy_graph(block).toarray() if n >= 15 else 1 - np.eye(n)
        np.testing.assert_allclose(graph, expected, atol=1e-6)
