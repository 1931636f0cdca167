"""Nearest neighbours: the seam for every search in the package.

`build_index` over reference rows, query the index with other rows. Up to ``EXACT_ROWS`` reference rows the neighbours
are exact; beyond they are those of a sketch of the rows (:mod:`msde.method.neighbors.sketch`), among very many rows
within cells of it (:mod:`msde.method.neighbors.cells`).
"""

from __future__ import annotations

from msde.method.arrays import FloatArray
from msde.method.neighbors.exact import ExactIndex
from msde.method.neighbors.index import NeighborIndex
from msde.method.neighbors.sketch import build_approximate

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
