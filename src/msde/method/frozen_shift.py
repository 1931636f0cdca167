"""The mean shift of one row alone, along the path that the normals took when they were shifted, frozen.

The published procedure shifts normals and scored rows together (arXiv 2604.19191), so a score depends on the batch.
Here the normals shift among themselves, and a row moves at each step towards its neighbours among their positions of
that step. A normal follows its own path so, and a Gaussian of the normals' displacements tells how unlike theirs
another row's is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from msde.method.arrays import FloatArray, IndexArray, evenly_spaced
from msde.method.density_weights import Weighting, density_weights
from msde.method.mean_shift import shift
from msde.method.parallel import for_blocks

WEIGHTING: Weighting = "density"
N_NEIGHBORS = 50
N_STEPS = 8
LEARNING_RATE = 0.33
MAX_LANDMARKS = 600
LEAST_VARIANCE = 1e-9  # of the largest: what is less comes of rounding

_TIE = 1e-9
_BLOCK_ROWS = 128


@dataclass(frozen=True)
class FrozenShift:
    """The path of normals, in the coordinates of the space that they span.

    The normals never leave that space. So of a row outside only the coordinates inside take part in the search of
    neighbours, and what lies outside shrinks by the same share at each step. That is exact, and of n normals in d > n
    dimensions it keeps n - 1 numbers a position.

    Parameters
    ----------
    centre : ndarray of shape (d,), float64
        Mean of the normals that took the path.
    axes : ndarray of shape (d, p), float32
        Orthonormal axes of the space that they span around it.
    layers : ndarray of shape (n_steps, n, p), float16
        Their coordinates before each step.
    weights : ndarray of shape (n,), float32
        How strongly each pulls.
    n_neighbors : int
        Neighbours that pull a row; capped at n.
    learning_rate : float
        Share of the way to their weighted mean that a row moves in one step, in (0, 1].
    """

    centre: NDArray[np.float64]
    axes: NDArray[np.float32]
    layers: NDArray[np.float16]
    weights: NDArray[np.float32]
    n_neighbors: int
    learning_rate: float

    def __post_init__(self) -> None:
        """Refuse what is no path, such as values of a damaged model file."""
        steps_n_p = self.layers.shape
        if len(steps_n_p) != 3 or self.axes.shape != (*self.centre.shape, steps_n_p[2]):
            raise ValueError("centre, axes and layers of a shift must have shapes (d,), (d, p) and (n_steps, n, p)")
        if self.weights.shape != steps_n_p[1:2] or not steps_n_p[1]:
            raise ValueError("a shift must have a weight for each of its normals, at least one")
        if not all(np.isfinite(array).all() for array in (self.centre, self.axes, self.layers, self.weights)):
            raise ValueError("centre, axes, layers and weights of a shift must be finite")
        if self.n_neighbors < 1 or not 0 < self.learning_rate <= 1:
            raise ValueError("a shift needs at least one neighbour and a learning rate in (0, 1]")

    @classmethod
    def fit(
        cls,
        normals: FloatArray,
        *,
        weighting: Weighting = WEIGHTING,
        n_neighbors: int = N_NEIGHBORS,
        n_steps: int = N_STEPS,
        max_landmarks: int = MAX_LANDMARKS,
    ) -> tuple[Self, NDArray[np.float64], NDArray[np.float64] | None]:
        """Shift the normals among themselves and keep their path.

        Parameters
        ----------
        normals : ndarray of shape (n, d)
            Standardised normals, n >= 2.
        weighting : {"density", "published", "uniform"}, default="density"
            See :func:`msde.method.density_weights.density_weights`.
        n_neighbors : int, default=50
            Neighbours that pull a row, itself included among the normals; fewer among landmarks, by the root of their
            share.
        n_steps : int, default=8
            Largest number of steps; fewer where the normals come to rest.
        max_landmarks : int, default=600
            Of more normals than that so many, evenly spaced, take the path, and the others follow it.

        Returns
        -------
        shift : FrozenShift
        displacement : ndarray of shape (n, p) or (n, d), float64
            Of the normals, up to the rounding of the layers; along the axes where they are given.
        axes : ndarray of shape (d, p) or None
        """
        landmarks = normals[evenly_spaced(len(normals), max_landmarks)]
        centre = landmarks.mean(axis=0, dtype=np.float64)
        axes, inside = _span(landmarks - centre)
        rows = inside.astype(np.float32)
        weights = density_weights(rows, weighting).astype(np.float32)
        # The wider the landmarks are spaced, the fewer stand for the same surroundings.
        k = max(1, round(n_neighbors * (len(rows) / len(normals)) ** 0.5))
        trajectory, shifted, _ = shift(rows, weights, n_neighbors=k, learning_rate=LEARNING_RATE, max_iter=n_steps)
        layers = np.stack(trajectory.positions).astype(np.float16)
        frozen = cls(centre, axes.astype(np.float32), layers, weights, k, LEARNING_RATE)
        if len(landmarks) < len(normals) or axes.shape[1] == len(axes):
            return frozen, frozen.displacement(normals), None
        return frozen, shifted - inside, axes

    def displacement(self, rows: FloatArray) -> NDArray[np.float64]:
        """Tell where rows move, each by itself.

        Parameters
        ----------
        rows : ndarray of shape (m, d)
            Standardised rows.

        Returns
        -------
        ndarray of shape (m, d), float64
            Last position minus first.
        """
        moved = np.empty(rows.shape)

        def move(block: slice) -> None:
            start = position = self.inside(rows[block])
            for step in range(len(self.layers)):
                position = self.moved(position, self._mean(position, step))
            moved[block] = self.outside(rows[block], start, position)

        for_blocks(move, len(rows), _BLOCK_ROWS)
        return moved

    def inside(self, rows: FloatArray) -> NDArray[np.float64]:
        """Give standardised rows (m, d) their coordinates (m, p) in the space of the normals."""
        return np.asarray((rows - self.centre) @ self._axes)

    def layer(self, step: int) -> NDArray[np.float64]:
        """Return the positions of the normals (n, p) before a step."""
        return np.asarray(self._layers[step])

    def nearest(
        self, position: NDArray[np.float64], step: int, left_out: NDArray[np.bool_] | None = None
    ) -> tuple[IndexArray, NDArray[np.float64]]:
        """Find the normals that pull rows at a step.

        Parameters
        ----------
        position : ndarray of shape (m, p)
        step : int
        left_out : ndarray of shape (m, n), bool, optional
            Normals that are not to pull each row.

        Returns
        -------
        neighbors : ndarray of shape (m, k)
            Their numbers, in no stated order.
        shares : ndarray of shape (m, k)
            Of the pull, with a sum of 1, or 0 where no normal with a weight is left.
        """
        closeness = self.squared_norms[step] - 2 * position @ self._layers[step].T  # less |position|^2, alike for all
        if left_out is not None:
            closeness[left_out] = np.inf
        k = min(self.n_neighbors, len(self.weights))
        neighbors = np.argpartition(closeness, k - 1, axis=1)[:, :k]
        shares = self.weights[neighbors].astype(np.float64)
        if left_out is not None:
            shares[np.take_along_axis(left_out, neighbors, axis=1)] = 0
        shares /= np.maximum(shares.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
        return neighbors, shares

    def moved(self, position: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.float64]:
        """Move rows one step towards the means of their neighbours."""
        return position + self.learning_rate * (mean - position)

    def outside(
        self, rows: FloatArray, start: NDArray[np.float64], position: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return how far rows (m, d) move in all dimensions that move from one place inside to another (m, p)."""
        kept = (1 - self.learning_rate) ** len(self.layers)
        return np.asarray((kept - 1) * (rows - self.centre) + (position - kept * start) @ self._axes.T)

    def _mean(self, position: NDArray[np.float64], step: int) -> NDArray[np.float64]:
        layer = self._layers[step]
        means = np.empty(position.shape)
        for row, (nearest, share) in enumerate(zip(*self.nearest(position, step), strict=True)):
            means[row] = share @ layer[nearest]
        return means

    @cached_property
    def _axes(self) -> NDArray[np.float64]:
        return self.axes.astype(np.float64)

    @cached_property
    def _layers(self) -> NDArray[np.float64]:
        return self.layers.astype(np.float64)

    @cached_property
    def squared_norms(self) -> NDArray[np.float64]:
        """Squared lengths of the positions of each step (n_steps, n), and a little more for each further normal."""
        # Far above rounding and below any difference that counts: of equal distances the first is nearer in any batch.
        return np.einsum("tij,tij->ti", self._layers, self._layers) + _TIE * np.arange(len(self.weights))


def _span(offsets: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give orthonormal axes (d, p) of the space that offsets (n, d) span, and the offsets along them (n, p)."""
    n, d = offsets.shape
    if n > d:
        return np.eye(d), offsets
    variances, sides = np.linalg.eigh(offsets @ offsets.T)
    apart = variances > LEAST_VARIANCE * variances[-1]
    apart[-1] = True  # rows that are all alike span nothing; theirs is an axis of 0
    lengths = np.sqrt(np.maximum(variances[apart], 0))
    return offsets.T @ (sides[:, apart] / np.where(lengths > 0, lengths, 1)), sides[:, apart] * lengths
