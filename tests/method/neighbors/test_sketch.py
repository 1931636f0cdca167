import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msde.method.neighbors import sketch
from msde.method.neighbors.cells import CellIndex
from msde.method.neighbors.exact import ExactIndex
from msde.method.neighbors.sketch import Sketch, SketchIndex, build_approximate, recall


def structured(rng, n, d=80, inner=6, noise=0.05, dtype=np.float32):
    return (rng.normal(size=(n, inner)) @ rng.normal(size=(inner, d)) + noise * rng.normal(size=(n, d))).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_axes_are_those_that_stand_out_from_noise(rng, dtype):
    sketch = Sketch.of(structured(rng, 1000, dtype=dtype))
    assert sketch.axes.shape == (80, 6)
    assert sketch.axes.dtype == dtype
    np.testing.assert_allclose(sketch.axes.T @ sketch.axes, np.eye(6), atol=1e-5)


@given(st.integers(0, 2**32 - 1), st.floats(0, 100))
@settings(max_examples=25)
def test_distances_of_coordinates_leave_out_only_what_is_common_beyond_the_axes(seed, offset):
    rng = np.random.default_rng(seed)
    rows = structured(rng, 200, d=20, inner=3, dtype=np.float64) + offset
    sketch = Sketch.of(rows)
    query, reference = rows[:1], rows[1:2]
    beyond = [x - sketch.center - (x - sketch.center) @ sketch.axes @ sketch.axes.T for x in (query, reference)]
    expected = ((query - reference) ** 2).sum() + 2 * (beyond[0] * beyond[1]).sum() - (beyond[0] ** 2).sum()
    offsets = sketch.of_queries(query) - sketch.of_references(reference)
    np.testing.assert_allclose((offsets**2).sum(), expected, rtol=1e-6, atol=1e-9)


def test_a_sketch_finds_most_neighbors_of_rows_and_of_strangers(rng):
    rows = structured(rng, 3500)
    rows, strangers = rows[:3000], rows[3000:]
    index = build_approximate(rows, 20)
    assert type(index) is SketchIndex
    for queries in (rows, strangers):
        assert recall(ExactIndex.build(rows).query(queries, 20), index.query(queries, 20)) >= 0.95


def test_rows_ask_for_themselves_as_their_copies_do(rng):
    rows = structured(rng, 500)
    index = build_approximate(rows, 10)
    np.testing.assert_array_equal(np.sort(index.query(rows, 10)), np.sort(index.query(rows.copy(), 10)))


def test_distances_are_those_of_the_rows_not_of_their_sketch(rng):
    rows = structured(rng, 500)
    distances, indices = build_approximate(rows, 10).query_distances(rows[:20], 10)
    expected = np.linalg.norm(rows[indices].astype(float) - rows[:20, None], axis=2)
    np.testing.assert_allclose(distances, expected)


def test_rows_without_structure_are_searched_as_they_are(rng):
    rows = rng.normal(size=(600, 40)).astype(np.float32)
    index = build_approximate(rows, 10)
    assert type(index) is ExactIndex
    np.testing.assert_array_equal(index.query(rows, 10), ExactIndex.build(rows).query(rows, 10))


def test_other_positions_are_sketched_on_the_same_axes(rng):
    rows = structured(rng, 1000)
    moved = rows + 0.3 * (rows.mean(axis=0) - rows)
    index = build_approximate(rows, 10)
    rebuilt = index.rebuilt(moved)
    assert isinstance(index, SketchIndex)
    assert isinstance(rebuilt, SketchIndex)
    assert rebuilt.sketch is index.sketch
    assert recall(ExactIndex.build(moved).query(moved, 10), rebuilt.query(moved, 10)) >= 0.95


def test_very_many_rows_are_searched_by_cells_of_their_sketch(rng, monkeypatch):
    monkeypatch.setattr(sketch, "CELL_ROWS", 1000)
    rows = structured(rng, 3000)
    index = build_approximate(rows, 10)
    assert isinstance(index, SketchIndex)
    assert type(index.coordinates) is CellIndex
    assert recall(ExactIndex.build(rows).query(rows, 10), index.query(rows, 10)) >= 0.93


def test_equal_rows_are_searched_too():
    rows = np.ones((400, 8), dtype=np.float32)
    assert build_approximate(rows, 5).query(rows[:3], 5).shape == (3, 5)


@pytest.mark.parametrize(("found", "share"), [([[1, 2], [3, 4]], 1.0), ([[2, 9], [7, 8]], 0.25)])
def test_recall_counts_the_true_neighbors_found(found, share):
    assert recall(np.array([[1, 2], [4, 3]]), np.array(found)) == share
