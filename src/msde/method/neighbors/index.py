"""Nearest neighbours by blocked matrix products: the seam for every search in the package.

`build_index` over reference rows, query the index with other rows. Up to ``EXACT_ROWS`` reference rows the neighbours
are exact; beyond they are those of a sketch of the rows (:mod:`msde.method.neighbors.sketch`), among very
many rows within cells of it (:mod:`msde.method.neighbors.cells`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from msde.method.parallel import for_blocks

FloatArray = NDArray[np.floating]
IndexArray = NDArray[np.intp]

EXACT_ROWS = 2_000

_BLOCK_BYTES = 4 * 2**20  # blocks that stay in the processor's cache: several passes go over each
_FEWEST_QUERIES = 64
_GROUPS_PER_NEIGHBOR = 4


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
    from msde.method.neighbors.sketch import build_approximate

    return build_approximate(rows, n_neighbors)


@dataclass(frozen=True)
class NeighborIndex(ABC):
    """Finds neighbours of query rows among reference rows.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Reference rows, float32 or float64.
    """

    rows: FloatArray

    @abstractmethod
    def query(self, queries: FloatArray, k: int) -> IndexArray:
        """Find the set of the k nearest reference rows of each query.

        Parameters
        ----------
        queries : ndarray of shape (m, d)
            Same dtype as the reference rows.
        k : int
            Neighbours a query, at least 1; capped at n.

        Returns
        -------
        ndarray of shape (m, k)
            Row numbers, in no stated order.
        """

    @abstractmethod
    def rebuilt(self, rows: FloatArray) -> NeighborIndex:
        """Index other positions of the same reference rows, of shape (n, d), with the settings found for these."""

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
        step = max(_FEWEST_QUERIES, _BLOCK_BYTES // (n * self.rows.itemsize))
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
