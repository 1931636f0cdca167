from msde.method import neighbors
from msde.method.neighbors import build_index
from msde.method.neighbors.exact import ExactIndex
from msde.method.neighbors.sketch import SketchIndex


def test_only_many_rows_are_indexed_by_a_sketch(rng, monkeypatch):
    monkeypatch.setattr(neighbors, "EXACT_ROWS", 300)
    rows = rng.normal(size=(301, 4)) @ rng.normal(size=(4, 20)) + 0.01 * rng.normal(size=(301, 20))
    assert type(build_index(rows[:300], 5)) is ExactIndex
    assert type(build_index(rows, 5)) is SketchIndex
