"""The mean shift: rows move towards the weighted mean of their neighbours, step by step.

Source: arXiv 2604.19191, "Mean Shift Density Enhancement"; arXiv 2602.03293, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from msde.neighbors import FloatArray, IndexArray, NeighborIndex

_AT_REST = 1e-6
_LEAST_WEIGHT = 1e-6


@dataclass(frozen=True)
class Trajectory:
    """The positions of the reference rows before each iteration of their shift, frozen.

    Parameters
    ----------
    positions : ndarray of shape (n_iter, n, d)
        Reference positions, one layer an iteration.
    weights : ndarray of shape (n,)
        Weight of each reference row.
    n_neighbors : int
        Neighbours that pull a row, itself included where it is a reference row; capped at n.
    learning_rate : float
        Share of the way to the weighted mean that a row moves in one iteration, in (0, 1].
    """

    positions: FloatArray
    weights: FloatArray
    n_neighbors: int
    learning_rate: float

    def follow(self, rows: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Move rows along the frozen trajectory, each on its own.

        Parameters
        ----------
        rows : ndarray of shape (m, d)
            Rows in the space of the reference rows. A reference row follows its own path.

        Returns
        -------
        shifted : ndarray of shape (m, d)
            Final positions.
        displacement : ndarray of shape (m,)
            Distance to the weighted mean, summed over the iterations.
        """
        displacement = np.zeros(len(rows), dtype=rows.dtype)
        for layer in self.positions:
            rows, change = _step(rows, NeighborIndex.build(layer), self)
            displacement += change
        return rows, displacement


def shift(
    rows: FloatArray,
    weights: NDArray[np.floating],
    *,
    n_neighbors: int = 50,
    learning_rate: float = 0.33,
    max_iter: int = 8,
    tol: float = 0.01,
) -> tuple[Trajectory, FloatArray, FloatArray]:
    """Shift the rows towards their own denser regions.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Embeddings, float32 or float64.
    weights : ndarray of shape (n,)
        Density weights, at least 0; fixed over the iterations.
    n_neighbors : int, default=50
        Neighbours that pull a row, itself included; capped at n.
    learning_rate : float, default=0.33
        Share of the way to the weighted mean that a row moves in one iteration, in (0, 1].
    max_iter : int, default=8
        Largest number of iterations.
    tol : float, default=0.01
        Stop after the iteration whose mean distance to the weighted mean is below this.

    Returns
    -------
    trajectory : Trajectory
        The positions before each iteration.
    shifted : ndarray of shape (n, d)
        Final positions.
    displacement : ndarray of shape (n,)
        Distance to the weighted mean, summed over the iterations.
    """
    weights = np.asarray(weights, dtype=rows.dtype)
    settings = Trajectory(rows[None], weights, min(n_neighbors, len(rows)), learning_rate)
    positions = []
    displacement = np.zeros(len(rows), dtype=rows.dtype)
    for _ in range(max_iter):
        positions.append(rows)
        rows, change = _step(rows, NeighborIndex.build(rows), settings)
        displacement += change
        if change.mean() < tol:
            break
    layers = np.stack(positions) if positions else np.empty((0, *rows.shape), dtype=rows.dtype)
    return Trajectory(layers, weights, settings.n_neighbors, learning_rate), rows, displacement


def _step(rows: FloatArray, index: NeighborIndex, settings: Trajectory) -> tuple[FloatArray, FloatArray]:
    """Move the rows one iteration among the indexed positions; return them and their distances to the mean."""
    towards = _weighted_means(index, index.query(rows, settings.n_neighbors), settings.weights) - rows
    change = np.sqrt(np.einsum("ij,ij->i", towards, towards))
    towards[change <= _AT_REST] = 0
    return rows + settings.learning_rate * towards, change


def _weighted_means(index: NeighborIndex, neighbors: IndexArray, weights: FloatArray) -> FloatArray:
    from scipy.sparse import csr_array

    pull = weights[neighbors]
    pull /= np.maximum(pull.sum(axis=1, keepdims=True), _LEAST_WEIGHT)
    starts = np.arange(0, neighbors.size + 1, neighbors.shape[1])
    return csr_array((pull.ravel(), neighbors.ravel(), starts), shape=(len(neighbors), len(index.rows))) @ index.rows
