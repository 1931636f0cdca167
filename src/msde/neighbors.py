"""Nearest neighbours by blocked matrix products: exact up to ``EXACT_ROWS`` reference rows, approximate beyond.

One seam for every search in the package: `build_index` over reference rows, query the index with other rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
IndexArray = NDArray[np.intp]

EXACT_ROWS = 20_000

_BLOCK_BYTES = 32 * 2**20
_GROUPS_PER_NEIGHBOR = 4
_RECALL = 0.97
_RECALL_QUERIES = 256
_SKETCH_AXES = 64
_SKETCH_ROWS = 5000
_AXES_ITERATIONS = 3
_ROWS_PER_CELL = 40
_CELL_ITERATIONS = 8


def build_index(rows: FloatArray, n_neighbors: int) -> NeighborIndex:
    """Index the rows: exactly up to ``EXACT_ROWS`` of them, by cells beyond.

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
    return NeighborIndex.build(rows) if len(rows) <= EXACT_ROWS else CellIndex.build_for(rows, n_neighbors)


def evenly_spaced(n: int, most: int) -> IndexArray:
    """Choose at most so many of n row numbers, evenly spaced.

    Parameters
    ----------
    n : int
        Number of rows.
    most : int
        Largest number chosen, at least 1.

    Returns
    -------
    ndarray of shape (min(n, most),)
        Ascending row numbers.
    """
    return np.linspace(0, n - 1, min(n, most)).astype(np.intp)


@dataclass(frozen=True)
class NeighborIndex:
    """Exact Euclidean neighbours of query rows among reference rows.

    Squared distances come from one matrix product a block. Where rounding leaves the last neighbour in doubt, the
    candidates of that row are measured again in float64 and ties go to the lower row number, so that the answer for
    a row depends neither on the rows it is asked with nor on how many there are.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Reference rows, float32 or float64.
    squared_norms : ndarray of shape (n,)
        Their squared lengths.
    """

    rows: FloatArray
    squared_norms: FloatArray

    @classmethod
    def build(cls, rows: FloatArray) -> NeighborIndex:
        """Index the rows.

        Parameters
        ----------
        rows : ndarray of shape (n, d)
            Reference rows, float32 or float64; kept by reference.

        Returns
        -------
        NeighborIndex
        """
        return cls(rows, np.einsum("ij,ij->i", rows, rows))

    def query(self, queries: FloatArray, k: int) -> IndexArray:
        """Find the set of the k nearest reference rows of each query.

        Parameters
        ----------
        queries : ndarray of shape (m, d)
            Same dtype as the reference rows.
        k : int
            Neighbours a query, 1 <= k <= n.

        Returns
        -------
        ndarray of shape (m, k)
            Row numbers, in no stated order.
        """
        n = len(self.rows)
        if k >= n:
            return np.broadcast_to(np.arange(n), (len(queries), n)).copy()
        found = np.empty((len(queries), k), dtype=np.intp)
        step = max(1, _BLOCK_BYTES // (n * self.rows.itemsize))
        closeness = np.empty((min(step, len(queries)), n), dtype=self.rows.dtype)
        largest = self.squared_norms.max()
        for start in range(0, len(queries), step):
            block = queries[start : start + step]
            found[start : start + step] = self._nearest(block, k, largest, closeness[: len(block)])
        return found

    def query_distances(self, queries: FloatArray, k: int) -> tuple[NDArray[np.float64], IndexArray]:
        """Find the k nearest reference rows of each query with their distances, nearest first.

        Parameters
        ----------
        queries : ndarray of shape (m, d)
            Same dtype as the reference rows.
        k : int
            Neighbours a query, 1 <= k <= n.

        Returns
        -------
        distances : ndarray of shape (m, k), float64
            Euclidean distances, ascending.
        indices : ndarray of shape (m, k)
            Row numbers; equal distances in ascending row number.
        """
        indices = self.query(queries, k)
        indices.sort(axis=1)
        distances = np.empty(indices.shape)
        step = max(1, _BLOCK_BYTES // (8 * indices.shape[1] * self.rows.shape[1]))
        for start in range(0, len(queries), step):
            block = slice(start, start + step)
            offsets = self.rows[indices[block]].astype(np.float64) - queries[block, None]
            distances[block] = np.sqrt(np.einsum("ijk,ijk->ij", offsets, offsets))
        order = np.argsort(distances, axis=1, kind="stable")
        return np.take_along_axis(distances, order, axis=1), np.take_along_axis(indices, order, axis=1)

    def _nearest(self, queries: FloatArray, k: int, largest: np.floating, closeness: FloatArray) -> IndexArray:
        # |q|^2 is the same for all candidates of a query, so it is left out of the comparison.
        np.matmul(queries * -2, self.rows.T, out=closeness)
        closeness += self.squared_norms
        rounding = 8 * np.finfo(closeness.dtype).eps * (np.einsum("ij,ij->i", queries, queries) + largest)
        candidates, values = _candidates(closeness, k, rounding)
        nearest = np.argpartition(values, k - 1, axis=1)[:, :k]
        found = np.take_along_axis(candidates, nearest, axis=1)
        limit = np.take_along_axis(values, nearest[:, k - 1 :], axis=1) + rounding[:, None]
        for row in np.flatnonzero(np.count_nonzero(values <= limit, axis=1) > k):
            doubtful = np.sort(candidates[row, values[row] <= limit[row]])
            offsets = self.rows[doubtful].astype(np.float64) - queries[row]
            squared = np.einsum("ij,ij->i", offsets, offsets)
            found[row] = doubtful[np.argsort(squared, kind="stable")[:k]]
        return found


@dataclass(frozen=True)
class CellIndex(NeighborIndex):
    """Neighbours of query rows among the reference rows of the cells around their own, found there exactly.

    The cells are those of k-means in the leading principal axes. As many cells around a query's own are searched as
    were needed to find 97 % of the true neighbours of some of the reference rows; the cells of a query do not depend
    on the others it is asked with. Queries of one cell share their candidates, hence one matrix product.

    Parameters
    ----------
    rows, squared_norms
        See `NeighborIndex`.
    axes : ndarray of shape (d, a)
        Directions in which the cells are told apart.
    centers : ndarray of shape (c, a)
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

    axes: FloatArray
    centers: FloatArray
    members: IndexArray
    starts: IndexArray
    nearest_cells: IndexArray
    n_probes: int

    @classmethod
    def build_for(cls, rows: FloatArray, n_neighbors: int) -> CellIndex:
        """Index the rows, with as many probes as the stated recall takes.

        Parameters
        ----------
        rows : ndarray of shape (n, d)
            Reference rows, float32 or float64; kept by reference.
        n_neighbors : int
            Neighbours at which the recall holds.

        Returns
        -------
        CellIndex
        """
        exact = NeighborIndex.build(rows)
        axes = _leading_axes(rows)
        n_cells = round(len(rows) ** 0.5)
        centers = _cell_centers(rows[evenly_spaced(len(rows), _ROWS_PER_CELL * n_cells)] @ axes, n_cells)
        cells = _nearest_centers(rows, axes, centers)
        starts = np.concatenate([[0], np.cumsum(np.bincount(cells, minlength=n_cells))])
        nearest_cells = np.argsort(_squared_distances(centers, centers), axis=1, kind="stable")
        sample = evenly_spaced(len(rows), _RECALL_QUERIES)
        found = exact.query(rows[sample], min(n_neighbors, len(rows)))
        ranks = np.argsort(nearest_cells, axis=1)[cells[sample][:, None], cells[found]]
        n_probes = int(np.quantile(ranks, _RECALL, method="higher")) + 1
        members = np.argsort(cells, kind="stable")
        return cls(rows, exact.squared_norms, axes, centers, members, starts, nearest_cells, n_probes)

    def query(self, queries: FloatArray, k: int) -> IndexArray:
        """Find k near reference rows of each query, nearly all of them the nearest.

        Parameters
        ----------
        queries : ndarray of shape (m, d)
            Same dtype as the reference rows.
        k : int
            Neighbours a query, 1 <= k <= n.

        Returns
        -------
        ndarray of shape (m, k)
            Row numbers, in no stated order.
        """
        found = np.empty((len(queries), min(k, len(self.rows))), dtype=np.intp)
        cells = _nearest_centers(queries, self.axes, self.centers)
        asked = np.argsort(cells, kind="stable")
        for group in np.split(asked, np.flatnonzero(np.diff(cells[asked], prepend=-1)))[1:]:
            candidates = self._around(cells[group[0]], k)
            there = NeighborIndex(self.rows[candidates], self.squared_norms[candidates])
            found[group] = candidates[there.query(queries[group], k)]
        return found

    def _around(self, cell: np.intp, k: int) -> IndexArray:
        """Gather the ascending row numbers of the cells around a cell, k of them at least."""
        order = self.nearest_cells[cell]
        sizes = np.cumsum(self.starts[order + 1] - self.starts[order])
        probed = order[: max(self.n_probes, int(np.searchsorted(sizes, k)) + 1)]
        return np.sort(np.concatenate([self.members[self.starts[i] : self.starts[i + 1]] for i in probed]))


def _leading_axes(rows: FloatArray) -> FloatArray:
    """Span nearly the leading principal axes by subspace iteration, which costs far less than all axes."""
    if rows.shape[1] <= _SKETCH_AXES:
        return np.eye(rows.shape[1], dtype=rows.dtype)
    sample = rows[evenly_spaced(len(rows), _SKETCH_ROWS)].astype(np.float64)
    sample -= sample.mean(axis=0)
    axes = np.random.default_rng(0).normal(size=(rows.shape[1], _SKETCH_AXES))
    for _ in range(_AXES_ITERATIONS):
        axes, _ = np.linalg.qr(sample.T @ (sample @ axes))
    return axes.astype(rows.dtype)


def _cell_centers(points: FloatArray, n_cells: int) -> FloatArray:
    """Find the centres by Lloyd's iteration; a cell without points keeps its centre."""
    from scipy.sparse import csr_array

    centers = points[evenly_spaced(len(points), n_cells)]
    axes, ones = np.eye(points.shape[1], dtype=points.dtype), np.ones(len(points), dtype=points.dtype)
    for _ in range(_CELL_ITERATIONS):
        cells = _nearest_centers(points, axes, centers)
        sums = csr_array((ones, cells, np.arange(len(points) + 1)), shape=(len(points), n_cells)).T @ points
        sizes = np.bincount(cells, minlength=n_cells)[:, None]
        centers = np.where(sizes > 0, sums / np.maximum(sizes, 1), centers).astype(points.dtype)
    return centers


def _nearest_centers(rows: FloatArray, axes: FloatArray, centers: FloatArray) -> IndexArray:
    step = max(1, _BLOCK_BYTES // (len(centers) * centers.itemsize))
    blocks = (rows[start : start + step] @ axes for start in range(0, len(rows), step))
    nearest = [_squared_distances(block, centers).argmin(axis=1) for block in blocks]
    return np.concatenate(nearest) if nearest else np.empty(0, dtype=np.intp)


def _squared_distances(points: FloatArray, centers: FloatArray) -> FloatArray:
    """Measure squared distances up to a number that depends on the point alone."""
    closeness = points @ (-2 * centers.T)
    closeness += np.einsum("ij,ij->i", centers, centers)
    return closeness


def _candidates(closeness: FloatArray, k: int, rounding: FloatArray) -> tuple[IndexArray, FloatArray]:
    """Pick from each row the columns that can be among its k smallest, and some more.

    The columns are dealt to groups. The k-th smallest of the groups' minima bounds the k-th smallest of the row, since
    k columns lie at or below it, and few others do. That is one pass over the row where a partial sort takes several.

    Returns column numbers and values, padded with infinity to rectangles.
    """
    n_rows, n = closeness.shape
    n_groups = _GROUPS_PER_NEIGHBOR * k
    if n < 2 * n_groups:
        return np.broadcast_to(np.arange(n), closeness.shape), closeness
    dealt = n // n_groups * n_groups
    minima = closeness[:, :dealt].reshape(n_rows, -1, n_groups).min(axis=1)
    minima[:, : n - dealt] = np.minimum(minima[:, : n - dealt], closeness[:, dealt:])
    bound = np.partition(minima, k - 1, axis=1)[:, k - 1] + rounding
    flat = np.flatnonzero(closeness <= bound[:, None])
    rows, columns = np.divmod(flat, n)
    counts = np.bincount(rows, minlength=n_rows)
    places = np.arange(len(flat)) - np.repeat(np.cumsum(counts) - counts, counts)
    candidates = np.zeros((n_rows, counts.max()), dtype=np.intp)
    values = np.full(candidates.shape, np.inf, dtype=closeness.dtype)
    candidates[rows, places] = columns
    values[rows, places] = closeness.ravel()[flat]
    return candidates, values
