"""The mean shift: rows move towards the weighted mean of their neighbours, step by step.

Source: arXiv 2604.19191, "Mean Shift Density Enhancement"; arXiv 2602.03293, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from msde.method.arrays import FloatArray, IndexArray, evenly_spaced
from msde.method.neighbors import Search, build_index
from msde.method.neighbors.index import NeighborIndex
from msde.method.parallel import for_blocks, single_threaded_products

if TYPE_CHECKING:
    from scipy.sparse import csr_array

MAX_REFERENCES = 20_000

_AT_REST = 1e-6
_LEAST_WEIGHT = 1e-6
COLUMN_BYTES = 16 * 2**20
LEAST_COLUMNS = 16
_MOST_COLUMNS = 64


@dataclass(frozen=True)
class Trajectory:
    """The positions of the reference rows before each iteration of their shift, frozen.

    Parameters
    ----------
    positions : tuple of n_iter ndarrays of shape (n, d)
        Reference positions, one layer an iteration.
    weights : ndarray of shape (n,)
        Weight of each reference row.
    n_neighbors : int
        Neighbours that pull a row, itself included where it is a reference row; capped at n.
    learning_rate : float
        Share of the way to the weighted mean that a row moves in one iteration, in (0, 1].
    """

    positions: tuple[FloatArray, ...]
    weights: FloatArray
    n_neighbors: int
    learning_rate: float

    @single_threaded_products()
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
        for index in self._indexes:
            neighbors = index.query(rows, self.n_neighbors)
            rows, change = _step(rows, index.rows, neighbors, self, np.empty(rows.shape, dtype=rows.dtype))
            displacement += change
        return rows, displacement

    @cached_property
    def _indexes(self) -> list[NeighborIndex]:
        indexes = [build_index(first, self.n_neighbors) for first in self.positions[:1]]
        return indexes + [indexes[0].rebuilt(layer) for layer in self.positions[1:]]


@single_threaded_products()
def shift(
    rows: FloatArray,
    weights: NDArray[np.floating],
    *,
    n_neighbors: int = 50,
    learning_rate: float = 0.33,
    max_iter: int = 8,
    tol: float = 0.01,
    max_references: int | None = None,
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
    max_references : int, optional
        Rows whose path the trajectory keeps, evenly spaced; by default all. All rows pull each other here, whatever is
        kept. Rows that follow have fewer neighbours among fewer references: `n_neighbors` times the square root of the
        share kept, which balances the wider spacing of the references against averages of fewer.

    Returns
    -------
    trajectory : Trajectory
        The positions before each iteration.
    shifted : ndarray of shape (n, d)
        Final positions.
    displacement : ndarray of shape (n,)
        Distance to the weighted mean, summed over the iterations.
    """
    n = len(rows)
    weights = np.asarray(weights, dtype=rows.dtype)
    k = min(n_neighbors, n)
    kept = evenly_spaced(n, n if max_references is None else max_references)
    search = Search(rows, k)
    ours = search.rows is not rows  # the rows as given are not ours to overwrite
    rows = search.rows
    order = np.arange(n) if search.order is None else search.order
    place = np.argsort(order)
    settings = Trajectory((rows,), weights[order], k, learning_rate)
    positions: list[FloatArray] = []
    displacement = np.zeros(n, dtype=rows.dtype)
    for _ in range(max_iter):
        out = rows if ours else np.empty(rows.shape, dtype=rows.dtype)
        positions.append(rows[place[kept]])
        rows, change = _step(rows, rows, search.query(rows), settings, out)
        ours = True
        displacement += change
        if change.mean() < tol:
            break
    if search.order is not None:
        _put_back(rows, place)
    followed = max(1, round(k * (len(kept) / n) ** 0.5))
    return Trajectory(tuple(positions), weights[kept], followed, learning_rate), rows, displacement[place]


def _step(
    rows: FloatArray, references: FloatArray, neighbors: IndexArray, settings: Trajectory, out: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Move the rows one iteration towards their neighbours into `out`, and measure their distances to the mean.

    Columns move in turn, so that `out` may be the rows themselves.
    """
    pull = _pull(neighbors, settings.weights)
    width = int(np.clip(COLUMN_BYTES // (rows.itemsize * max(1, len(rows))), LEAST_COLUMNS, _MOST_COLUMNS))
    squared = np.empty((-(-rows.shape[1] // width), len(rows)), dtype=rows.dtype)

    def towards(columns: slice) -> FloatArray:
        offsets = pull @ np.ascontiguousarray(references[:, columns]) - rows[:, columns]
        squared[columns.start // width] = np.einsum("ij,ij->i", offsets, offsets)
        return offsets

    def move(columns: slice, offsets: FloatArray) -> None:
        out[:, columns] = rows[:, columns] + settings.learning_rate * offsets

    def move_later(columns: slice) -> None:
        columns = slice(columns.start + width, columns.stop + width)
        move(columns, towards(columns))

    # The first columns tell which rows may rest, before anything is overwritten.
    first = slice(0, min(width, rows.shape[1]))
    offsets = towards(first)
    resting = np.flatnonzero(np.sqrt(squared[0]) <= _AT_REST)
    held = rows[resting]
    move(first, offsets)
    for_blocks(move_later, rows.shape[1] - first.stop, width)
    change = np.sqrt(squared.sum(axis=0))
    at_rest = change[resting] <= _AT_REST
    out[resting[at_rest]] = held[at_rest]
    return out, change


def _put_back(rows: FloatArray, place: IndexArray) -> None:
    """Put rows at their places, some columns at a time: a second copy of very many rows would not fit."""

    def put(columns: slice) -> None:
        rows[:, columns] = rows[place, columns]

    for_blocks(put, rows.shape[1], LEAST_COLUMNS)


def _pull(neighbors: IndexArray, weights: FloatArray) -> csr_array:
    """Share out the pull on each row among its neighbours, as a matrix that turns positions into weighted means."""
    from scipy.sparse import csr_array

    shares = weights[neighbors]
    shares /= np.maximum(shares.sum(axis=1, keepdims=True), _LEAST_WEIGHT)
    # Of one type, so that no copy is made of either.
    starts = np.arange(0, neighbors.size + 1, neighbors.shape[1], dtype=neighbors.dtype)
    return csr_array((shares.ravel(), neighbors.ravel(), starts), shape=(len(neighbors), len(weights)))
