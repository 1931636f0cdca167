"""How crowded the rows of fuzzy graphs are: the radii at which enough are, and how many others lie within them.

A row of a graph's membership matrix is taken as a vector (arXiv 2604.19191, "Density weights").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from msde.method.arrays import IndexArray, evenly_spaced

if TYPE_CHECKING:
    from scipy.sparse import csr_array

CROWD = 70
CROWDED_SHARE = 0.3
N_RADII = 4
RADIUS_ROWS = 10_000

_BLOCK_ROWS = 1000
_RADIUS_BISECTIONS = 50
_RADIUS_TOLERANCE = 1e-4

Measure = Callable[[NDArray[np.bool_]], IndexArray]


class Distances(Protocol):
    """Distances of rows of b fuzzy graphs, n of each, to all rows of their graph."""

    @property
    def smallest(self) -> NDArray[np.float64]:
        """A lower bound of each graph's distances, (b,)."""

    @property
    def largest(self) -> NDArray[np.float64]:
        """An upper bound of each graph's distances, (b,)."""

    @property
    def n_rows(self) -> int:
        """How many rows of a graph are measured."""

    def count(self, radii: NDArray[np.float64]) -> IndexArray:
        """Count the other rows within its graph's radius, of (b,), around each row: (b, n)."""


@dataclass(frozen=True)
class DenseDistances:
    """Distances of all rows of graphs of equal size.

    Parameters
    ----------
    squared : ndarray of shape (b, n, n)
    smallest, largest : ndarray of shape (b,)
        Of the distances of two different rows.
    """

    squared: NDArray[np.float64]
    smallest: NDArray[np.float64]
    largest: NDArray[np.float64]

    @classmethod
    def between(cls, graphs: NDArray[np.float64]) -> DenseDistances:
        """Measure the distances in dense graphs, (b, n, n)."""
        norms = np.einsum("bij,bij->bi", graphs, graphs)
        squared = norms[:, :, None] + norms[:, None] - 2 * graphs @ graphs.transpose(0, 2, 1)
        squared = np.maximum(squared, 0)
        itself = np.arange(graphs.shape[1])
        squared[:, itself, itself] = np.inf if len(itself) > 1 else 0
        smallest = np.sqrt(squared.min(axis=(1, 2)))
        squared[:, itself, itself] = 0
        return cls(squared, smallest, np.sqrt(squared.max(axis=(1, 2))))

    @property
    def n_rows(self) -> int:
        """How many rows a graph has."""
        return self.squared.shape[1]

    def count(self, radii: NDArray[np.float64]) -> IndexArray:
        """Count neighbours; see `Distances.count`."""
        return np.count_nonzero(self.squared <= (radii**2)[:, None, None], axis=2) - 1


@dataclass(frozen=True)
class Lengths:
    """Squared lengths of the rows of a graph, as they stand and ascending."""

    squared: NDArray[np.float64]
    in_order: NDArray[np.float64]

    @classmethod
    def of(cls, graph: csr_array) -> Lengths:
        """Measure the rows of a graph."""
        squared = np.asarray(graph.multiply(graph).sum(axis=1)).ravel()
        return cls(squared, np.sort(squared))


@dataclass(frozen=True)
class SparseDistances:
    """Distances of some rows of one graph, of which only those of rows with a common neighbour are stored.

    Rows without one are as far apart as their lengths say.

    Parameters
    ----------
    squared_lengths : ndarray of shape (n,)
        Of the measured rows.
    sorted_squared_lengths : ndarray
        Of all rows of the graph.
    starts : ndarray of shape (n + 1,)
        Where each measured row starts in the next two.
    squared, squared_if_apart : ndarray
        Squared distances to the rows with a common neighbour, and what they would be without.
    smallest, largest : ndarray of shape (1,)
        Bounds of the distances.
    """

    squared_lengths: NDArray[np.float64]
    sorted_squared_lengths: NDArray[np.float64]
    starts: NDArray[np.integer]
    squared: NDArray[np.float64]
    squared_if_apart: NDArray[np.float64]
    smallest: NDArray[np.float64]
    largest: NDArray[np.float64]

    @classmethod
    def between(cls, graph: csr_array, lengths: Lengths, measured: IndexArray) -> SparseDistances:
        """Measure the distances of some rows, by number, to all."""
        blocks = np.array_split(measured, -(-len(measured) // _BLOCK_ROWS))
        counts, squared, apart = zip(*(cls._not_apart(graph, lengths.squared, block) for block in blocks), strict=True)
        return cls(
            lengths.squared[measured],
            lengths.in_order,
            np.concatenate([[0], np.cumsum(np.concatenate(counts))]),
            np.concatenate(squared),
            np.concatenate(apart),
            np.zeros(1),
            np.sqrt(2 * lengths.in_order[-1:]),
        )

    @staticmethod
    def _not_apart(
        graph: csr_array, all_lengths: NDArray[np.float64], measured: IndexArray
    ) -> tuple[IndexArray, NDArray[np.float64], NDArray[np.float64]]:
        """Count each measured row's other rows with a common neighbour; give their distances and those if apart."""
        common = (graph[measured] @ graph).tocsr()  # the graph is symmetric; its transpose would be sorted anew
        rows = np.repeat(np.arange(len(measured)), np.diff(common.indptr))
        other = common.indices != measured[rows]
        apart = all_lengths[measured][rows[other]] + all_lengths[common.indices[other]]
        squared = np.maximum(apart - 2 * common.data[other], 0)
        return np.bincount(rows[other], minlength=len(measured)), squared, apart

    @property
    def n_rows(self) -> int:
        """How many rows are measured."""
        return len(self.squared_lengths)

    def count(self, radii: NDArray[np.float64]) -> IndexArray:
        """Count neighbours; see `Distances.count`."""
        reach = float(radii[0]) ** 2
        within = np.searchsorted(self.sorted_squared_lengths, reach - self.squared_lengths, side="right")
        within -= 2 * self.squared_lengths <= reach
        mended = np.zeros(len(self.squared) + 1, dtype=np.int32)
        steps = (self.squared <= reach).view(np.int8) - (self.squared_if_apart <= reach)
        np.cumsum(steps, dtype=np.int32, out=mended[1:])
        return np.asarray(within + mended[self.starts[1:]] - mended[self.starts[:-1]])[None]


def crowding_of_graph(graph: csr_array) -> NDArray[np.float64]:
    """Average the counts of all rows of a graph, (n,), at the radii of a sample of them.

    Block by block, to bound the memory.
    """
    n = graph.shape[0]
    lengths = Lengths.of(graph)
    if n <= RADIUS_ROWS:
        return crowding(SparseDistances.between(graph, lengths, np.arange(n)), numbers)[0]
    radii = _radii(SparseDistances.between(graph, lengths, evenly_spaced(n, RADIUS_ROWS)), numbers)
    blocks = np.array_split(np.arange(n), -(-n // _BLOCK_ROWS))
    return np.concatenate([_mean_count(SparseDistances.between(graph, lengths, block), radii)[0] for block in blocks])


def crowding(distances: Distances, measure: Measure) -> NDArray[np.float64]:
    """Average the counts of the rows of each graph over its four radii.

    Parameters
    ----------
    distances : Distances
        Of n rows in each of b graphs.
    measure : callable
        Takes which rows are crowded, (b, n), and tells how many they are taken for, (b,).

    Returns
    -------
    ndarray of shape (b, n)
    """
    return _mean_count(distances, _radii(distances, measure))


def numbers(crowded: NDArray[np.bool_]) -> IndexArray:
    """Count the crowded rows of each graph."""
    return np.count_nonzero(crowded, axis=1)


def _radii(distances: Distances, measure: Measure) -> list[NDArray[np.float64]]:
    """Find the smallest radius at which each graph's rows are crowded enough, and three evenly spaced below."""
    n = distances.n_rows
    crowd = CROWD if n > CROWD else max(1, n - 1)
    required = int(CROWDED_SHARE * n)
    radius = _smallest_radius(distances, lambda counts: measure(counts > crowd) >= required)
    if np.isnan(radius).any():
        fewer = _smallest_radius(distances, lambda counts: measure(counts > max(1, crowd // 2)) >= required // 2)
        radius = np.where(np.isnan(radius), fewer, radius)
    radius = np.where(np.isnan(radius), distances.largest, radius)
    step = (radius - 1e-6) / N_RADII
    return [radius - i * step for i in range(N_RADII)]


def _mean_count(distances: Distances, radii: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.mean([distances.count(radius) for radius in radii], axis=0)


def _smallest_radius(distances: Distances, satisfied: Callable[[IndexArray], NDArray[np.bool_]]) -> NDArray[np.float64]:
    """Bisect the radius of each graph; NaN where none that was tried satisfies."""
    low, high = distances.smallest.copy(), distances.largest.copy()
    found = np.full(len(low), np.nan)
    searching = np.ones(len(low), dtype=bool)
    for _ in range(_RADIUS_BISECTIONS):
        middle = (low + high) / 2
        enough = satisfied(distances.count(middle))
        smaller, larger = searching & enough, searching & ~enough
        found[smaller] = high[smaller] = middle[smaller]
        low[larger] = middle[larger]
        searching &= high - low >= _RADIUS_TOLERANCE
        if not searching.any():
            break
    return found
