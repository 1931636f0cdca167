"""Nearest neighbours: the seam for every search in the package.

`build_index` over reference rows, query the index with other rows. Up to ``EXACT_ROWS`` reference rows the neighbours
are exact; beyond they are those of a sketch of the rows (:mod:`msde.method.neighbors.sketch`), among very many rows
within cells of it (:mod:`msde.method.neighbors.cells`). `build_search` is for all rows among themselves, which need
each distance once only (:mod:`msde.method.neighbors.mutual`).
"""

from __future__ import annotations

from collections.abc import Callable

from msde.method.arrays import FloatArray, IndexArray
from msde.method.neighbors.exact import ExactIndex
from msde.method.neighbors.index import NeighborIndex
from msde.method.neighbors.mutual import MutualSearch
from msde.method.neighbors.sketch import CELL_ROWS, build_approximate

EXACT_ROWS = 2_000


def build_index(rows: FloatArray, n_neighbors: int) -> NeighborIndex:
    """Index the rows: exactly up to ``EXACT_ROWS`` of them, by a sketch beyond.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Reference rows, float32 or float64; kept by reference.
    n_neighbors : int
        Neighbours that a query will ask for; an approximate index tunes its recall at this number.

    Returns
    -------
    NeighborIndex
    """
    if len(rows) <= EXACT_ROWS:
        return ExactIndex.build(rows)
    return build_approximate(rows, n_neighbors)


def build_search(rows: FloatArray, n_neighbors: int) -> Callable[[FloatArray], IndexArray]:
    """Prepare to search the neighbours of all rows among themselves, at one position of the rows after the other.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        First positions, float32 or float64.
    n_neighbors : int
        Neighbours a row, itself included, 1 <= n_neighbors <= n.

    Returns
    -------
    callable
        Takes positions (n, d) of the rows and returns the numbers of their neighbours, (n, n_neighbors), in no stated
        order.
    """
    if EXACT_ROWS < len(rows) <= CELL_ROWS:
        search = MutualSearch.of(rows)
        return lambda positions: search.query(positions, n_neighbors)
    first = build_index(rows, n_neighbors)

    def find(positions: FloatArray) -> IndexArray:
        index = first if positions is rows else first.rebuilt(positions)
        return index.query(index.rows, n_neighbors)

    return find
