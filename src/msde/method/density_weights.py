"""Density weights: how crowded the surroundings of each row are.

The weights of Mean Shift Density Enhancement come from a fuzzy k-nearest-neighbour graph (UMAP, arXiv 1802.03426,
section 3.1). Row i of the graph's symmetric membership matrix stands for point i; its weight is the number of other
rows near it, averaged over four radii (arXiv 2604.19191, "Density weights").
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from msde.method.arrays import FloatArray
from msde.method.crowding import DenseDistances, crowding, crowding_of_graph
from msde.method.fuzzy_graph import GRAPH_NEIGHBORS, fuzzy_graph, fuzzy_graphs_of_blocks
from msde.method.parallel import for_blocks, single_threaded_products

Weighting = Literal["density", "published", "uniform"]
WEIGHTINGS: tuple[Weighting, ...] = get_args(Weighting)

PUBLISHED_BLOCK = 100

_BLOCKS_AT_ONCE = 8


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
        return crowding_of_graph(fuzzy_graph(rows))
    if weighting != "published":
        raise ValueError(f"weighting must be one of {', '.join(WEIGHTINGS)}; got {weighting!r}")
    return _published(rows, PUBLISHED_BLOCK if len(rows) > 3 * GRAPH_NEIGHBORS else len(rows))


def _published(rows: FloatArray, size: int) -> NDArray[np.float64]:
    """Weigh consecutive blocks of so many rows; some at once, because the two bisections take many small steps."""
    n_whole = len(rows) // size
    weights = np.empty(len(rows))
    whole = rows[: n_whole * size].reshape(n_whole, size, rows.shape[1])
    of_whole = weights[: n_whole * size].reshape(n_whole, size)

    def weigh(blocks: slice) -> None:
        of_whole[blocks] = _of_blocks(whole[blocks])

    for_blocks(weigh, n_whole, _BLOCKS_AT_ONCE)
    if n_whole * size < len(rows):
        weights[n_whole * size :] = _of_blocks(rows[None, n_whole * size :])[0]
    return weights


def _of_blocks(blocks: FloatArray) -> NDArray[np.float64]:
    """Weigh the rows of blocks, (b, n, d), as the scripts do: (b, n)."""
    return crowding(DenseDistances.between(fuzzy_graphs_of_blocks(blocks)), _sums_of_row_numbers)


def _sums_of_row_numbers(crowded: NDArray[np.bool_]) -> NDArray[np.intp]:
    return np.asarray(crowded @ np.arange(crowded.shape[1]))
