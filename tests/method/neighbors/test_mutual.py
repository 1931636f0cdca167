from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from msde.method import parallel
from msde.method.neighbors import mutual
from msde.method.neighbors.exact import ExactIndex
from msde.method.neighbors.mutual import MutualSearch, Pairs
from msde.method.neighbors.sketch import recall


def apart(rng, n, d=40, n_clusters=6, distance=20):
    """Clusters that are all farther from each other than their own rows are."""
    return (
        distance * rng.normal(size=(n_clusters, d))[rng.integers(n_clusters, size=n)] + rng.normal(size=(n, d))
    ).astype(np.float32)


def overlapping(rng, n, d=40):
    return (rng.normal(size=(3, d))[rng.integers(3, size=n)] + rng.normal(size=(n, d))).astype(np.float32)


def noise(rng, n, d=40):
    return rng.normal(size=(n, d)).astype(np.float32)


@pytest.fixture(params=[apart, overlapping, noise])
def rows(request, rng, monkeypatch):
    monkeypatch.setattr(mutual, "ROWS_PER_CELL", 60)
    monkeypatch.setattr(mutual, "FEWEST_ROWS", 10)
    monkeypatch.setattr(mutual, "SKETCH_RECALL", 2)  # no sketch is as good as that
    return request.param(rng, 900)


def pairs_of(rows, k=12):
    search = MutualSearch(rows)
    order = np.concatenate(search.cells)
    sizes = [len(cell) for cell in search.cells]
    return Pairs.of(rows[order], np.zeros(len(rows), dtype=rows.dtype), sizes, k), rows[order]


@pytest.mark.slow
@pytest.mark.parametrize("k", [1, 2, 12, 50, 899, 900])
def test_the_neighbors_are_those_of_the_plain_search(rows, k):
    rows = rows.astype(np.float64)
    found = MutualSearch(rows).query(rows, k)
    np.testing.assert_array_equal(np.sort(found), np.sort(ExactIndex.build(rows).query(rows, k)))


def test_rounding_alone_keeps_float32_from_all_of_them(rows):
    assert recall(ExactIndex.build(rows).query(rows, 50), MutualSearch(rows).query(rows, 50)) > 0.999


def test_they_are_at_other_positions_too(rows):
    rows = rows.astype(np.float64)
    search = MutualSearch(rows)
    moved = rows + 0.33 * (rows[np.roll(np.arange(len(rows)), 1)] - rows)
    np.testing.assert_array_equal(np.sort(search.query(moved, 12)), np.sort(ExactIndex.build(moved).query(moved, 12)))


def test_no_cell_is_left_out_that_holds_a_neighbor(rows):
    pairs, points = pairs_of(rows)
    distances = cdist(points.astype(float), points.astype(float), "sqeuclidean")
    for number, cell in enumerate(pairs.cells):
        within = (distances[:, cell] < pairs.thresholds[:, None]).any(axis=1)
        assert pairs.reach[within, number].all()


def test_cells_that_lie_apart_are_not_compared(rng, monkeypatch):
    monkeypatch.setattr(mutual, "ROWS_PER_CELL", 60)
    monkeypatch.setattr(mutual, "FEWEST_ROWS", 10)
    clustered, unclustered = (pairs_of(rows)[0].n_measured for rows in (apart(rng, 900), noise(rng, 900)))
    assert clustered < 0.5 * unclustered
    assert unclustered < 0.7 * 900**2  # each distance once, within the cells twice


def test_rows_whose_threshold_is_too_low_are_searched_anew(rows, monkeypatch):
    rows, plain = rows.astype(np.float64), mutual.thresholds_of
    monkeypatch.setattr(mutual, "thresholds_of", lambda *pairs: np.where(np.arange(900) % 3 == 0, -1, plain(*pairs)))
    found = MutualSearch(rows).query(rows, 12)
    np.testing.assert_array_equal(np.sort(found), np.sort(ExactIndex.build(rows).query(rows, 12)))


def test_of_a_threshold_lie_so_many_rows_as_ranks_say(rows):
    pairs, points = pairs_of(rows, 30)
    below = (cdist(points.astype(float), points.astype(float), "sqeuclidean") < pairs.thresholds[:, None]).sum(axis=1)
    assert 2.4 * 30 < below.mean() < 4 * 30
    assert (below >= 30).mean() > 0.98


@pytest.mark.parametrize("n_alike", [300, 900])
def test_copies_have_neighbors_and_are_their_own(rng, n_alike):
    rows = noise(rng, 900)
    rows[:n_alike] = rows[0]
    found = MutualSearch(rows).query(rows, 10)
    assert (found == np.arange(900)[:, None]).any(axis=1).all()
    assert all(len(np.unique(row)) == 10 for row in found)
    assert (found[:n_alike] < n_alike).all()


def test_a_cloud_far_from_the_origin_keeps_its_neighbors(rng):
    rows = (1000 + rng.normal(size=(600, 64))).astype(np.float32)
    assert recall(ExactIndex.build(rows).query(rows, 5), MutualSearch(rows).query(rows, 5)) > 0.999


def test_a_sketch_stands_for_rows_where_it_finds_their_neighbors(rng):
    inner = rng.normal(size=(900, 6)) @ rng.normal(size=(6, 80))
    quiet, loud = ((inner + noise * rng.normal(size=(900, 80))).astype(np.float32) for noise in (0.03, 1))
    search = MutualSearch(quiet)
    assert search.sketch is not None
    assert search.sketch.axes.shape == (80, 6)
    assert 0.985 <= recall(ExactIndex.build(quiet).query(quiet, 20), search.query(quiet, 20)) < 1
    assert recall(ExactIndex.build(loud).query(loud, 20), search.query(loud, 20)) > 0.9999
    assert search.sketch is None  # it was of little use, and is not asked again
    assert MutualSearch(rng.normal(size=(900, 80))).sketch is None


def test_one_and_two_threads_find_alike(rows, monkeypatch):
    found = []
    for threads in (1, 2):
        monkeypatch.setattr(parallel, "workers", lambda threads=threads: ThreadPoolExecutor(threads))
        found.append(MutualSearch(rows).query(rows, 12))
    np.testing.assert_array_equal(found[0], found[1])
