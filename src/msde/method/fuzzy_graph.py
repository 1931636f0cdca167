"""The fuzzy k-nearest-neighbour graph of UMAP (arXiv 1802.03426, section 3.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from msde.method.arrays import FloatArray, IndexArray
from msde.method.neighbors import build_index

if TYPE_CHECKING:
    from scipy.sparse import csr_array

GRAPH_NEIGHBORS = 15

_SCALE_BISECTIONS = 64
_SCALE_TOLERANCE = 1e-5
_SMALLEST_SCALE = 1e-3
_COPIES = 1e-13  # of the squared lengths: the distance that rounding puts between a row and its copy


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
    from scipy.sparse import csr_array

    n_neighbors = min(n_neighbors, len(rows))
    distances, indices = build_index(rows, n_neighbors).query_distances(rows, n_neighbors)
    memberships = _memberships(distances, distances.mean())
    n = len(indices)
    memberships[indices == np.arange(n)[:, None]] = 0
    starts = np.arange(0, indices.size + 1, indices.shape[1])
    directed = csr_array((memberships.ravel(), indices.ravel(), starts), shape=(n, n))
    directed.eliminate_zeros()
    both = directed.multiply(directed.T)
    return csr_array(directed + directed.T - both)


def fuzzy_graphs_of_blocks(blocks: FloatArray) -> NDArray[np.float64]:
    """Build the fuzzy graphs of small blocks of rows, each by itself, as `fuzzy_graph` does with 15 neighbours.

    Parameters
    ----------
    blocks : ndarray of shape (b, n, d)
        Embeddings.

    Returns
    -------
    ndarray of shape (b, n, n)
        With fewer rows than neighbours the published scripts' padding makes a graph complete.
    """
    n_blocks, n, _ = blocks.shape
    if n < GRAPH_NEIGHBORS:
        return np.broadcast_to(1 - np.eye(n), (n_blocks, n, n))
    distances, indices = _nearest_in_blocks(blocks.astype(np.float64))
    overall = np.repeat(distances.mean(axis=(1, 2)), n)[:, None]
    memberships = _memberships(distances.reshape(n_blocks * n, -1), overall).reshape(indices.shape)
    directed = np.zeros((n_blocks, n, n))
    np.put_along_axis(directed, indices, memberships, axis=2)
    directed[:, np.arange(n), np.arange(n)] = 0
    opposite = directed.transpose(0, 2, 1)
    return directed + opposite - directed * opposite


def _nearest_in_blocks(blocks: NDArray[np.float64]) -> tuple[NDArray[np.float64], IndexArray]:
    """Find the nearest rows within each block, ascending by distance, then row number."""
    blocks = blocks - blocks.mean(axis=1, keepdims=True)  # what all rows share would only cost digits
    norms = np.einsum("bij,bij->bi", blocks, blocks)
    both = norms[:, :, None] + norms[:, None]
    squared = both - 2 * blocks @ blocks.transpose(0, 2, 1)
    squared[squared <= _COPIES * both] = 0
    indices = np.argsort(squared, axis=2, kind="stable")[:, :, :GRAPH_NEIGHBORS]
    return np.sqrt(np.take_along_axis(squared, indices, axis=2)), indices


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
