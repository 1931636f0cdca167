"""What every search for nearest neighbours gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from msde.method.arrays import FloatArray, IndexArray

_BLOCK_BYTES = 4 * 2**20  # blocks that stay in the processor's cache: several passes go over each


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

    def cell_by_cell(self) -> tuple[IndexArray, NeighborIndex]:
        """Return the numbers of the reference rows, those of a cell side by side, and an index in this order."""
        return np.arange(len(self.rows)), self

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
        step = max(1, _BLOCK_BYTES // (8 * indices.shape[1] * max(1, self.rows.shape[1])))
        for start in range(0, len(queries), step):
            block = slice(start, start + step)
            offsets = self.rows[indices[block]].astype(np.float64) - queries[block, None]
            distances[block] = np.sqrt(np.einsum("ijk,ijk->ij", offsets, offsets))
        order = np.argsort(distances, axis=1, kind="stable")
        return np.take_along_axis(distances, order, axis=1), np.take_along_axis(indices, order, axis=1)
