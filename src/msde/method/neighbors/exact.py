"""Nearest neighbours by blocked matrix products, exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from msde.method.arrays import FloatArray, IndexArray
from msde.method.neighbors.index import NeighborIndex
from msde.method.parallel import for_blocks

BLOCK_BYTES = 4 * 2**20  # blocks that stay in the processor's cache: several passes go over each
FEWEST_QUERIES = 64

_GROUPS_PER_NEIGHBOR = 4


@dataclass(frozen=True)
class ExactIndex(NeighborIndex):
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

    squared_norms: FloatArray

    @classmethod
    def build(cls, rows: FloatArray) -> ExactIndex:
        """Index the rows.

        Parameters
        ----------
        rows : ndarray of shape (n, d)
            Reference rows, float32 or float64; kept by reference.

        Returns
        -------
        ExactIndex
        """
        return cls(rows, np.einsum("ij,ij->i", rows, rows))

    def query(self, queries: FloatArray, k: int) -> IndexArray:
        """Find the set of the k nearest reference rows of each query; see `NeighborIndex.query`."""
        n = len(self.rows)
        if k >= n:
            return np.broadcast_to(np.arange(n), (len(queries), n)).copy()
        found = np.empty((len(queries), k), dtype=np.intp)
        step = max(FEWEST_QUERIES, BLOCK_BYTES // (n * self.rows.itemsize))
        largest = self.squared_norms.max()

        def search(block: slice) -> None:
            found[block] = self._nearest(queries[block], k, largest)

        for_blocks(search, len(queries), step)
        return found

    def rebuilt(self, rows: FloatArray) -> ExactIndex:
        """Index other positions of the same rows; see `NeighborIndex.rebuilt`."""
        return self.build(rows)

    def _nearest(self, queries: FloatArray, k: int, largest: np.floating) -> IndexArray:
        # |q|^2 is the same for all candidates of a query, so it is left out of the comparison.
        closeness = queries * -2 @ self.rows.T
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
