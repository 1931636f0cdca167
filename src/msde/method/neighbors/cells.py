"""Neighbours among very many rows: only those in the cells around a query are searched."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from msde.method.arrays import FloatArray, IndexArray, evenly_spaced
from msde.method.neighbors.exact import ExactIndex
from msde.method.neighbors.index import NeighborIndex

_BLOCK_BYTES = 32 * 2**20
_ROWS_PER_CELL = 40
_CELL_ITERATIONS = 8
_CELLS_AT_ONCE = 32  # whose rows are gathered together


@dataclass(frozen=True)
class CellIndex(NeighborIndex):
    """Neighbours of query rows among the reference rows of the cells around their own, found there exactly.

    The cells are those of k-means. Which cells a query searches does not depend on the others it is asked with.
    Queries of one cell share their candidates, hence one matrix product.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Reference rows, float32 or float64.
    centers : ndarray of shape (c, d)
        Centres of the cells.
    members : ndarray of shape (n,)
        Row numbers, cell by cell.
    starts : ndarray of shape (c + 1,)
        Where each cell starts among the members.
    nearest_cells : ndarray of shape (c, c)
        The cells in the order of their distance from each cell, itself first.
    n_probes : int
        Cells searched.

    References
    ----------
    Sivic and Zisserman, "Video Google", 2003 (inverted lists); Jegou, Douze, Schmid, "Product quantization for
    nearest neighbor search", 2011, section IV.
    """

    centers: FloatArray
    members: IndexArray
    starts: IndexArray
    nearest_cells: IndexArray
    n_probes: int

    @classmethod
    def build(cls, rows: FloatArray, sample: FloatArray, truth: IndexArray, recall: float) -> CellIndex:
        """Put rows into cells, with as many probes as the stated recall takes.

        Parameters
        ----------
        rows : ndarray of shape (n, d)
            Reference rows, float32 or float64; kept by reference.
        sample : ndarray of shape (m, d)
            Some queries.
        truth : ndarray of shape (m, k)
            Row numbers of their neighbours.
        recall : float
            Share of the sample's neighbours that are to be in the searched cells.

        Returns
        -------
        CellIndex
        """
        index = cls._dealt(rows, cell_centers(rows, round(len(rows) ** 0.5)), 0)
        cells = np.empty(len(rows), dtype=np.intp)
        cells[index.members] = np.repeat(np.arange(len(index.centers)), np.diff(index.starts))
        ranks = np.argsort(index.nearest_cells, axis=1)[nearest_centers(sample, index.centers)[:, None], cells[truth]]
        return replace(index, n_probes=int(np.quantile(ranks, recall, method="higher")) + 1)

    @classmethod
    def _dealt(cls, rows: FloatArray, centers: FloatArray, n_probes: int) -> CellIndex:
        cells = nearest_centers(rows, centers)
        members = np.argsort(cells, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(cells, minlength=len(centers)))])
        nearest_cells = np.argsort(_squared_distances(centers, centers), axis=1, kind="stable")
        return cls(rows, centers, members, starts, nearest_cells, n_probes)

    def rebuilt(self, rows: FloatArray) -> CellIndex:
        """Put other positions of the same rows into cells of their own; see `NeighborIndex.rebuilt`.

        Rows that move a little stay in good cells, so one step of Lloyd's iteration goes on from the present ones.
        """
        sizes = np.diff(self.starts)
        filled = np.flatnonzero(sizes)
        centers = self.centers.copy()
        for block in np.array_split(filled, -(-len(filled) // _CELLS_AT_ONCE)):
            first, last = self.starts[block[0]], self.starts[block[-1] + 1]
            sums = np.add.reduceat(rows[self.members[first:last]], self.starts[block] - first, axis=0)
            centers[block] = sums / sizes[block, None]
        return self._dealt(rows, centers.astype(rows.dtype), self.n_probes)

    def cell_by_cell(self) -> tuple[IndexArray, CellIndex]:
        """Put the rows of a cell side by side; see `NeighborIndex.cell_by_cell`."""
        return self.members, replace(self, rows=self.rows[self.members], members=np.arange(len(self.members)))

    def query(self, queries: FloatArray, k: int) -> IndexArray:
        """Find k near reference rows of each query, nearly all of them the nearest; see `NeighborIndex.query`."""
        # Of very many rows these numbers are among the largest arrays, so they take half the usual room.
        found = np.empty((len(queries), min(k, len(self.rows))), dtype=np.int32)
        cells = nearest_centers(queries, self.centers)
        asked = np.argsort(cells, kind="stable")
        for group in np.split(asked, np.flatnonzero(np.diff(cells[asked], prepend=-1)))[1:]:
            candidates = self._around(cells[group[0]], k)
            # Seen from the cell's centre rows are short, and rounding leaves fewer neighbours in doubt.
            center = self.centers[cells[group[0]]]
            there = ExactIndex.build(self.rows[candidates] - center)
            found[group] = candidates[there.query(queries[group] - center, k)]
        return cast("IndexArray", found)

    def _around(self, cell: np.intp, k: int) -> IndexArray:
        """Gather the ascending row numbers of the cells around a cell, k of them at least."""
        order = self.nearest_cells[cell]
        sizes = np.cumsum(self.starts[order + 1] - self.starts[order])
        probed = order[: max(self.n_probes, int(np.searchsorted(sizes, k)) + 1)]
        return np.sort(np.concatenate([self.members[self.starts[i] : self.starts[i + 1]] for i in probed]))


def cell_centers(rows: FloatArray, n_cells: int) -> FloatArray:
    """Find the centres by Lloyd's iteration over some of the rows; a cell without any keeps its centre."""
    from scipy.sparse import csr_array

    points = rows[evenly_spaced(len(rows), _ROWS_PER_CELL * n_cells)]
    centers = points[evenly_spaced(len(points), n_cells)]
    ones = np.ones(len(points), dtype=points.dtype)
    for _ in range(_CELL_ITERATIONS):
        cells = nearest_centers(points, centers)
        sums = csr_array((ones, cells, np.arange(len(points) + 1)), shape=(len(points), n_cells)).T @ points
        sizes = np.bincount(cells, minlength=n_cells)[:, None]
        centers = np.where(sizes > 0, sums / np.maximum(sizes, 1), centers).astype(points.dtype)
    return centers


def nearest_centers(points: FloatArray, centers: FloatArray) -> IndexArray:
    """Find the number of the nearest centre of each point."""
    step = max(1, _BLOCK_BYTES // (len(centers) * centers.itemsize))
    blocks = (points[start : start + step] for start in range(0, len(points), step))
    nearest = [_squared_distances(block, centers).argmin(axis=1) for block in blocks]
    return np.concatenate(nearest) if nearest else np.empty(0, dtype=np.intp)


def _squared_distances(points: FloatArray, centers: FloatArray) -> FloatArray:
    """Measure squared distances up to a number that depends on the point alone."""
    closeness = points @ (-2 * centers.T)
    closeness += np.einsum("ij,ij->i", centers, centers)
    return closeness
