import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from msde.method import crowding as crowding_module
from msde.method.crowding import DenseDistances, Lengths, SparseDistances, crowding, numbers
from msde.method.density_weights import density_weights
from msde.method.fuzzy_graph import fuzzy_graph


@given(st.integers(0, 2**32 - 1), st.integers(3, 150), st.floats(0, 2))
@settings(max_examples=25)
def test_sparse_and_dense_counts_agree(seed, n, radius):
    graph, radii = fuzzy_graph(np.random.default_rng(seed).normal(size=(n, 5))), np.array([radius])
    dense = DenseDistances.between(graph.toarray()[None])
    sparse = SparseDistances.between(graph, Lengths.of(graph), np.arange(n))
    np.testing.assert_array_equal(sparse.count(radii), dense.count(radii))
    assert sparse.largest[0] >= dense.largest[0] - 1e-12


def test_distances_of_some_rows_are_those_of_all(rng):
    graph = fuzzy_graph(rng.normal(size=(150, 5)))
    lengths, some = Lengths.of(graph), np.array([3, 50, 149])
    of_some, of_all = (
        SparseDistances.between(graph, lengths, rows).count(np.array([1.1]))[0] for rows in (some, np.arange(150))
    )
    np.testing.assert_array_equal(of_some, of_all[some])


def test_the_radius_of_a_sample_gives_nearly_the_weights_of_all(rng, monkeypatch):
    rows = rng.normal(size=(1500, 6))
    whole = density_weights(rows)
    monkeypatch.setattr(crowding_module, "RADIUS_ROWS", 400)
    sampled = density_weights(rows)
    assert np.corrcoef(whole, sampled)[0, 1] > 0.99
    np.testing.assert_allclose(sampled.mean(), whole.mean(), rtol=0.1)


def test_graphs_together_are_as_crowded_as_each_alone(rng):
    """Each graph's bisection ends by itself, whatever that of the others does."""
    graphs = np.stack([fuzzy_graph(scale * rng.normal(size=(90, 3))).toarray() for scale in (1, 5, 30)])
    graphs[2] *= 0.01
    together = crowding(DenseDistances.between(graphs), numbers)
    alone = [crowding(DenseDistances.between(graph[None]), numbers)[0] for graph in graphs]
    np.testing.assert_array_equal(together, alone)
