"""Exact nearest neighbours by blocked matrix products.

One seam for every search in the package: build an index over reference rows, query it with other rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
IndexArray = NDArray[np.intp]

_BLOCK_BYTES = 32 * 2**20
_GROUPS_PER_NEIGHBOR = 4


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
