import numpy as np
import pytest

from msde.method import neighbors
from msde.method.neighbors import Search, build_index, sketch
from msde.method.neighbors.exact import ExactIndex
from msde.method.neighbors.sketch import SketchIndex


def test_only_many_rows_are_indexed_by_a_sketch(rng, monkeypatch):
    monkeypatch.setattr(neighbors, "EXACT_ROWS", 300)
    rows = rng.normal(size=(301, 4)) @ rng.normal(size=(4, 20)) + 0.01 * rng.normal(size=(301, 20))
    assert type(build_index(rows[:300], 5)) is ExactIndex
    assert type(build_index(rows, 5)) is SketchIndex


@pytest.mark.slow
@pytest.mark.parametrize(("exact_rows", "cell_rows"), [(2000, 20_000), (300, 20_000), (300, 400)])
@pytest.mark.parametrize("k", [5, 200])
def test_rows_search_themselves_where_they_are_and_where_they_move(rng, monkeypatch, exact_rows, cell_rows, k):
    monkeypatch.setattr(neighbors, "EXACT_ROWS", exact_rows)
    for module in (neighbors, sketch):
        monkeypatch.setattr(module, "CELL_ROWS", cell_rows)
    rows = rng.normal(size=(1200, 4)) @ rng.normal(size=(4, 20)) + 0.01 * rng.normal(size=(1200, 20))
    given = rows.copy()
    search = Search(rows, k)
    positions = search.rows if search.order is None else search.rows.copy()
    np.testing.assert_array_equal(positions, rows if search.order is None else rows[search.order])
    for _ in range(2):
        found, expected = search.query(positions), ExactIndex.build(positions).query(positions, k)
        assert sketch.recall(expected, found) > 0.95
        positions = positions + 0.2 * (positions[found].mean(axis=1) - positions)
    np.testing.assert_array_equal(rows, given)
