"""Nearest neighbours: the seam for every search in the package.

`build_index` over reference rows, query the index with other rows. Up to ``EXACT_ROWS`` reference rows the neighbours
are exact; beyond they are those of a sketch of the rows (:mod:`msde.method.neighbors.sketch`), among very many rows
within cells of it (:mod:`msde.method.neighbors.cells`). `Search` is for all rows among themselves, which need
each distance once only (:mod:`msde.method.neighbors.mutual`).
"""

from __future__ import annotations

from msde.method.arrays import FloatArray, IndexArray
from msde.method.neighbors.exact import ExactIndex
from msde.method.neighbors.index import NeighborIndex
from msde.method.neighbors.mutual import MutualSearch
from msde.method.neighbors.sketch import CELL_ROWS, build_approximate

EXACT_ROWS = 2_000

_LARGEST_SHARE = 0.1


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


class Search:
    """Finds the neighbours of all rows among themselves, at one position of the rows after the other.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        First positions, float32 or float64.
    n_neighbors : int
        Neighbours a row, itself included, 1 <= n_neighbors <= n.

    Attributes
    ----------
    rows : ndarray of shape (n, d)
        The first positions in the order in which rows are to be asked for.
    order : ndarray of shape (n,) or None
        Their numbers, where the order is another than the one given: of very many rows, those of a cell come together,
        since bringing rows from far apart in memory takes longer than to compute with them.
    """

    def __init__(self, rows: FloatArray, n_neighbors: int) -> None:
        self.rows = rows
        self.order: IndexArray | None = None
        self._n_neighbors, self._moved = n_neighbors, False
        # A threshold that lets many neighbours pass lets most of the rows pass.
        if EXACT_ROWS < len(rows) <= CELL_ROWS and n_neighbors <= _LARGEST_SHARE * len(rows):
            self._mutual: MutualSearch | None = MutualSearch(rows)
            return
        self._mutual, self._index = None, build_index(rows, n_neighbors)
        if len(rows) > CELL_ROWS:
            self.order, self._index = self._index.cell_by_cell()
            self.rows = self._index.rows

    def query(self, positions: FloatArray) -> IndexArray:
        """Find the neighbours of rows at positions (n, d), at first those of `rows`: (n, n_neighbors) row numbers."""
        if self._mutual:
            return self._mutual.query(positions, self._n_neighbors)
        if self._moved:
            self._index = self._index.rebuilt(positions)
        self._moved = True
        return self._index.query(self._index.rows, self._n_neighbors)
