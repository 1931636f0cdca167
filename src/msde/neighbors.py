"""Exact nearest neighbours by blocked matrix products.

One seam for every search in the package: build an index over reference rows, query it with other rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
IndexArray = NDArray[np.intp]

_BLOCK_BYTES = 64 * 2**20


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
        for start in range(0, len(queries), step):
            block = slice(start, start + step)
            found[block] = self._nearest(queries[block], k)
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

    def _nearest(self, queries: FloatArray, k: int) -> IndexArray:
        # |q|^2 is the same for all candidates of a query, so it is left out of the comparison.
        closeness = queries @ self.rows.T
        closeness *= -2
        closeness += self.squared_norms
        found = np.argpartition(closeness, k - 1, axis=1)[:, :k]
        furthest = np.take_along_axis(closeness, found[:, k - 1 : k], axis=1)
        scale = np.einsum("ij,ij->i", queries, queries)[:, None] + self.squared_norms.max()
        rounding = 8 * np.finfo(closeness.dtype).eps * scale
        in_doubt = np.count_nonzero(closeness <= furthest + rounding, axis=1) > k
        for row in np.flatnonzero(in_doubt):
            candidates = np.flatnonzero(closeness[row] <= furthest[row] + rounding[row])
            offsets = self.rows[candidates].astype(np.float64) - queries[row]
            squared = np.einsum("ij,ij->i", offsets, offsets)
            found[row] = candidates[np.argsort(squared, kind="stable")[:k]]
        return found
