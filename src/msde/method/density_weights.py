"""Density weights: how crowded the surroundings of each row are.

The weights of Mean Shift Density Enhancement come from a fuzzy k-nearest-neighbour graph (UMAP, arXiv 1802.03426,
section 3.1). Row i of the graph's symmetric membership matrix stands for point i; its weight is the number of other
rows near it, averaged over four radii (arXiv 2604.19191, "Density weights").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from msde.method.arrays import FloatArray, IndexArray, evenly_spaced
from msde.method.neighbors import build_index
from msde.method.parallel import single_threaded_products

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Weighting = Literal["density", "published", "uniform"]
WEIGHTINGS: tuple[Weighting, ...] = get_args(Weighting)

GRAPH_NEIGHBORS = 15
CROWD = 70
CROWDED_SHARE = 0.3
PUBLISHED_BLOCK = 100
N_RADII = 4
RADIUS_ROWS = 10_000

_BLOCK_ROWS = 1000
_SCALE_BISECTIONS = 64
_SCALE_TOLERANCE = 1e-5
_SMALLEST_SCALE = 1e-3
_RADIUS_BISECTIONS = 50
_RADIUS_TOLERANCE = 1e-4


@single_threaded_products()
def density_weights(rows: FloatArray, weighting: Weighting = "density") -> NDArray[np.float64]:
    """Weigh each row by how crowded its surroundings are.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Embeddings, n >= 2.
    weighting : {"density", "published", "uniform"}, default="density"
        "density" is the method as its authors state it: one graph over all rows, and the radius is the smallest at
        which 30 % of the rows have more than 70 others around them. It does not depend on the order of the rows;
        beyond 10,000 rows it does a little, because the radius is then that of 10,000 evenly spaced rows among all.
        "published" is what the authors' scripts compute: rows are taken in consecutive blocks of 100 (a set of at
        most 45 rows is one block), and the radius condition adds up the row numbers of the crowded rows where their
        count is meant. It depends on the order of the rows. "uniform" gives every row the weight 1.

    Returns
    -------
    ndarray of shape (n,), float64
        Weights, at least 0: a mean number of other rows ("uniform": 1).

    Raises
    ------
    ValueError
        If the weighting is not one of the three.
    """
    if weighting == "uniform":
        return np.ones(len(rows))
    if weighting == "density":
        return _crowding_by_blocks(fuzzy_graph(rows))
    if weighting != "published":
        raise ValueError(f"weighting must be one of {', '.join(WEIGHTINGS)}; got {weighting!r}")
    size = PUBLISHED_BLOCK if len(rows) > 3 * GRAPH_NEIGHBORS else len(rows)
    graphs = _published_graphs([rows[start : start + size] for start in range(0, len(rows), size)])
    return np.concatenate([_crowding(_DenseDistances.between(graph), _sum_of_row_numbers) for graph in graphs])


def fuzzy_graph(rows: FloatArray, n_neighbors: int = GRAPH_NEIGHBORS) -> csr_array:
    """Build the fuzzy k-nearest-neighbour graph of the rows.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Embeddings.
    n_neighbors : int, default=15
        Neighbours a row, the row itself among them; capped at n.

    Returns
    -------
    scipy.sparse.csr_array of shape (n, n)
        Symmetric memberships in [0, 1], no self loops (UMAP, arXiv 1802.03426, section 3.1, with the probabilistic
        union and a local connectivity of 1).
    """
    n_neighbors = min(n_neighbors, len(rows))
    distances, indices = build_index(rows, n_neighbors).query_distances(rows, n_neighbors)
    return _joined(_memberships(distances, distances.mean()), indices)


def _joined(memberships: NDArray[np.float64], indices: IndexArray) -> csr_array:
    """Join the memberships of each row's neighbours, (n, k), to a symmetric matrix by the probabilistic union."""
    from scipy.sparse import csr_array

    n = len(indices)
    memberships[indices == np.arange(n)[:, None]] = 0
    starts = np.arange(0, indices.size + 1, indices.shape[1])
    directed = csr_array((memberships.ravel(), indices.ravel(), starts), shape=(n, n))
    directed.eliminate_zeros()
    both = directed.multiply(directed.T)
    return csr_array(directed + directed.T - both)


def _published_graphs(blocks: list[FloatArray]) -> Iterator[csr_array]:
    """Build each block's graph; with fewer rows than neighbours the scripts' padding makes it complete."""
    from scipy.sparse import csr_array

    full = [block for block in blocks if len(block) >= GRAPH_NEIGHBORS]
    searched = [build_index(block, GRAPH_NEIGHBORS).query_distances(block, GRAPH_NEIGHBORS) for block in full]
    if full:
        # All blocks at once, because the search of the scales takes many small steps.
        means = np.repeat([distances.mean() for distances, _ in searched], [len(block) for block in full])[:, None]
        memberships = _memberships(np.concatenate([distances for distances, _ in searched]), means)
        borders = np.cumsum([len(block) for block in full])[:-1]
        for part, (_, indices) in zip(np.split(memberships, borders), searched, strict=True):
            yield _joined(part, indices)
    for block in blocks[len(full) :]:
        yield csr_array(1.0 - np.eye(len(block)))


def _memberships(distances: NDArray[np.float64], overall: np.floating | NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn each row's ascending neighbour distances into memberships that sum to log2(k), the row itself left out.

    `overall` is the mean of the distances in the row's graph, which stands in for its own where that is 0.
    """
    nearest = np.min(distances, axis=1, keepdims=True, where=distances > 0, initial=np.inf)
    nearest[np.isinf(nearest)] = 0
    beyond = np.maximum(distances - nearest, 0)
    target = np.log2(distances.shape[1])
    low, high = np.zeros(len(distances)), np.full(len(distances), np.inf)
    scale = np.ones(len(distances))
    searching = np.ones(len(distances), dtype=bool)
    for _ in range(_SCALE_BISECTIONS):
        total = np.exp(-beyond[searching, 1:] / scale[searching, None]).sum(axis=1)
        rows = np.flatnonzero(searching)
        too_wide = total > target
        searching[rows[np.abs(total - target) < _SCALE_TOLERANCE]] = False
        high[rows[too_wide]] = scale[rows[too_wide]]
        low[rows[~too_wide]] = scale[rows[~too_wide]]
        rows = np.flatnonzero(searching)
        if not len(rows):
            break
        bounded = np.isfinite(high[rows])
        scale[rows] = np.where(bounded, (low[rows] + np.where(bounded, high[rows], 0)) / 2, scale[rows] * 2)
    smallest = _SMALLEST_SCALE * np.where(nearest > 0, distances.mean(axis=1, keepdims=True), overall)
    scale = np.maximum(scale[:, None], smallest)
    return np.where(beyond > 0, np.exp(-beyond / np.where(scale > 0, scale, 1)), 1.0)


class _Distances(Protocol):
    """Distances of rows of a fuzzy graph, taken as vectors, to all its rows."""

    @property
    def smallest(self) -> float: ...

    @property
    def largest(self) -> float: ...

    def __len__(self) -> int: ...

    def count(self, radius: float) -> IndexArray:
        """Count the other rows within the radius of each row."""


@dataclass(frozen=True)
class _DenseDistances:
    squared: NDArray[np.float64]
    smallest: float
    largest: float

    @classmethod
    def between(cls, graph: csr_array) -> _DenseDistances:
        dense = graph.toarray()
        norms = np.einsum("ij,ij->i", dense, dense)
        squared = np.maximum(norms[:, None] + norms - 2 * dense @ dense.T, 0)
        others = squared[~np.eye(len(dense), dtype=bool)] if len(dense) > 1 else np.zeros(1)
        np.fill_diagonal(squared, 0)
        return cls(squared, float(np.sqrt(others.min())), float(np.sqrt(others.max())))

    def __len__(self) -> int:
        return len(self.squared)

    def count(self, radius: float) -> IndexArray:
        return np.count_nonzero(self.squared <= radius**2, axis=1) - 1


@dataclass(frozen=True)
class _Lengths:
    """Squared lengths of the rows of a graph, as they stand and ascending."""

    squared: NDArray[np.float64]
    in_order: NDArray[np.float64]

    @classmethod
    def of(cls, graph: csr_array) -> _Lengths:
        squared = np.asarray(graph.multiply(graph).sum(axis=1)).ravel()
        return cls(squared, np.sort(squared))


@dataclass(frozen=True)
class _SparseDistances:
    """Rows without a common neighbour are as far apart as their lengths say, so only the others are stored."""

    squared_lengths: NDArray[np.float64]
    sorted_squared_lengths: NDArray[np.float64]
    starts: NDArray[np.integer]
    squared: NDArray[np.float64]
    squared_if_apart: NDArray[np.float64]
    smallest: float
    largest: float

    @classmethod
    def between(cls, graph: csr_array, lengths: _Lengths, measured: IndexArray) -> _SparseDistances:
        """Measure the distances of some rows, by number, to all."""
        blocks = np.array_split(measured, -(-len(measured) // _BLOCK_ROWS))
        counts, squared, apart = zip(*(cls._not_apart(graph, lengths.squared, block) for block in blocks), strict=True)
        return cls(
            lengths.squared[measured],
            lengths.in_order,
            np.concatenate([[0], np.cumsum(np.concatenate(counts))]),
            np.concatenate(squared),
            np.concatenate(apart),
            0.0,
            float(np.sqrt(2 * lengths.in_order[-1])),
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

    def __len__(self) -> int:
        return len(self.squared_lengths)

    def count(self, radius: float) -> IndexArray:
        reach = radius**2
        within = np.searchsorted(self.sorted_squared_lengths, reach - self.squared_lengths, side="right")
        within -= 2 * self.squared_lengths <= reach
        mended = np.zeros(len(self.squared) + 1, dtype=np.int32)
        steps = (self.squared <= reach).view(np.int8) - (self.squared_if_apart <= reach)
        np.cumsum(steps, dtype=np.int32, out=mended[1:])
        return within + mended[self.starts[1:]] - mended[self.starts[:-1]]


def _crowding_by_blocks(graph: csr_array) -> NDArray[np.float64]:
    """Average the counts of all rows at the radii of a sample of them, block by block to bound the memory."""
    n = graph.shape[0]
    lengths = _Lengths.of(graph)
    if n <= RADIUS_ROWS:
        return _crowding(_SparseDistances.between(graph, lengths, np.arange(n)), np.count_nonzero)
    radii = _radii(_SparseDistances.between(graph, lengths, evenly_spaced(n, RADIUS_ROWS)), np.count_nonzero)
    blocks = np.array_split(np.arange(n), -(-n // _BLOCK_ROWS))
    return np.concatenate([_mean_count(_SparseDistances.between(graph, lengths, block), radii) for block in blocks])


def _sum_of_row_numbers(crowded: NDArray[np.bool_]) -> int:
    return int(np.flatnonzero(crowded).sum())


def _crowding(distances: _Distances, measure: Callable[[NDArray[np.bool_]], int]) -> NDArray[np.float64]:
    return _mean_count(distances, _radii(distances, measure))


def _radii(distances: _Distances, measure: Callable[[NDArray[np.bool_]], int]) -> list[float]:
    """Find the smallest radius at which the rows are crowded enough, and three evenly spaced below."""
    crowd = CROWD if len(distances) > CROWD else max(1, len(distances) - 1)
    required = int(CROWDED_SHARE * len(distances))
    radius = _smallest_radius(distances, lambda counts: measure(counts > crowd) >= required)
    if radius is None:
        radius = _smallest_radius(distances, lambda counts: measure(counts > max(1, crowd // 2)) >= required // 2)
    if radius is None:
        radius = distances.largest
    step = (radius - 1e-6) / N_RADII
    return [radius - i * step for i in range(N_RADII)]


def _mean_count(distances: _Distances, radii: list[float]) -> NDArray[np.float64]:
    return np.mean([distances.count(radius) for radius in radii], axis=0)


def _smallest_radius(distances: _Distances, satisfied: Callable[[IndexArray], bool]) -> float | None:
    low, high, found = distances.smallest, distances.largest, None
    for _ in range(_RADIUS_BISECTIONS):
        middle = (low + high) / 2
        if satisfied(distances.count(middle)):
            found = high = middle
        else:
            low = middle
        if high - low < _RADIUS_TOLERANCE:
            break
    return found
