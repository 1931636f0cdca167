"""Neighbours among many rows by a sketch: the leading principal axes, and how far each row lies beyond them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from msde.method.arrays import FloatArray, IndexArray, evenly_spaced
from msde.method.neighbors.cells import CellIndex
from msde.method.neighbors.exact import ExactIndex
from msde.method.neighbors.index import NeighborIndex
from msde.method.parallel import for_blocks

RECALL = 0.99
RECALL_AMONG_MANY = 0.97  # beyond CELL_ROWS, where searching the rows as they are would take much longer
CELL_ROWS = 20_000

_PROBED_RECALL = 0.99
_SAMPLE_QUERIES = 256
_SAMPLE_ROWS = 4000
_BLOCK_ROWS = 1000


@dataclass(frozen=True)
class Sketch:
    """Coordinates of rows in few axes.

    Distances between a query's and a reference row's coordinates stand for those of the rows: the parts of the two
    beyond the axes are taken to be at right angles, as parts without structure in many dimensions nearly are.

    Parameters
    ----------
    center : ndarray of shape (d,)
        Mean of the rows.
    axes : ndarray of shape (d, a)
        Orthonormal directions.
    """

    center: FloatArray
    axes: FloatArray

    @classmethod
    def of(cls, rows: FloatArray) -> Sketch:
        """Take the principal axes that stand out from noise.

        Parameters
        ----------
        rows : ndarray of shape (n, d)
            Reference rows.

        Returns
        -------
        Sketch
            Its axes are those whose variance exceeds the hard threshold of Gavish and Donoho ("The optimal hard
            threshold for singular values is 4/sqrt(3)", 2014, section III.E), in a sample of the rows.
        """
        sample = rows[evenly_spaced(len(rows), _SAMPLE_ROWS)]
        center = sample.mean(axis=0)
        sample = sample - center
        variances, axes = np.linalg.eigh(sample.T @ sample)
        ratio = min(1.0, rows.shape[1] / len(sample))
        threshold = (0.56 * ratio**3 - 0.95 * ratio**2 + 1.82 * ratio + 1.43) ** 2 * np.median(variances)
        return cls(center, np.ascontiguousarray(axes[:, variances > threshold]))

    def of_references(self, rows: FloatArray) -> FloatArray:
        """Give rows of shape (n, d) their coordinates (n, a + 1), the last one the length beyond the axes."""
        coordinates = np.empty((len(rows), self.axes.shape[1] + 1), dtype=rows.dtype)

        def fill(block: slice) -> None:
            offsets = rows[block] - self.center
            inside = np.matmul(offsets, self.axes, out=coordinates[block, :-1])
            beyond = np.einsum("ij,ij->i", offsets, offsets) - np.einsum("ij,ij->i", inside, inside)
            coordinates[block, -1] = np.sqrt(np.maximum(beyond, 0))

        for_blocks(fill, len(rows), _BLOCK_ROWS)
        return coordinates

    def tried(self, rows: FloatArray, k: int) -> tuple[FloatArray, float]:
        """Give rows of shape (n, d) their coordinates, and the share of k true neighbours that these find for some."""
        coordinates = self.of_references(rows)
        sample = rows[evenly_spaced(len(rows), _SAMPLE_QUERIES)]
        truth = ExactIndex.build(rows).query(sample, k)
        return coordinates, recall(truth, ExactIndex.build(coordinates).query(self.of_queries(sample), k))

    def of_queries(self, rows: FloatArray) -> FloatArray:
        """Give rows of shape (m, d) their coordinates (m, a + 1); what is beyond is the same to all references."""
        inside = rows @ self.axes - self.center @ self.axes
        return np.hstack([inside, np.zeros((len(rows), 1), dtype=rows.dtype)])


@dataclass(frozen=True)
class SketchIndex(NeighborIndex):
    """Neighbours of query rows by the coordinates of a sketch.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Reference rows, float32 or float64.
    sketch : Sketch
        Of the reference rows.
    coordinates : NeighborIndex
        Of the reference rows' coordinates.
    """

    sketch: Sketch
    coordinates: NeighborIndex

    def query(self, queries: FloatArray, k: int) -> IndexArray:
        """Find k near reference rows of each query, nearly all of them the nearest; see `NeighborIndex.query`."""
        if queries is self.rows:
            asked = self.coordinates.rows.copy()
            asked[:, -1] = 0
        else:
            asked = self.sketch.of_queries(queries)
        return self.coordinates.query(asked, k)

    def cell_by_cell(self) -> tuple[IndexArray, SketchIndex]:
        """Put rows side by side whose coordinates are of a cell; see `NeighborIndex.cell_by_cell`."""
        order, coordinates = self.coordinates.cell_by_cell()
        return order, SketchIndex(self.rows[order], self.sketch, coordinates)

    def rebuilt(self, rows: FloatArray) -> SketchIndex:
        """Index other positions of the same rows on the same axes; see `NeighborIndex.rebuilt`."""
        return SketchIndex(rows, self.sketch, self.coordinates.rebuilt(self.sketch.of_references(rows)))


def build_approximate(rows: FloatArray, n_neighbors: int) -> NeighborIndex:
    """Index the rows by a sketch, if that finds 99 % of the true neighbours of some of them, of very many rows 97 %.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Reference rows, float32 or float64; kept by reference.
    n_neighbors : int
        Neighbours at which the recall holds.

    Returns
    -------
    NeighborIndex
        A `SketchIndex`; where the sketch is not good enough, an index of the rows as they are.
    """
    k = min(n_neighbors, len(rows))
    exact = ExactIndex.build(rows)
    sample = rows[evenly_spaced(len(rows), _SAMPLE_QUERIES)]
    truth = exact.query(sample, k)
    sketch = Sketch.of(rows)
    coordinates = ExactIndex.build(sketch.of_references(rows))
    asked = sketch.of_queries(sample)
    found = coordinates.query(asked, k)
    if recall(truth, found) < (RECALL if len(rows) <= CELL_ROWS else RECALL_AMONG_MANY):
        return _probed(exact, sample, truth)
    return SketchIndex(rows, sketch, _probed(coordinates, asked, found))


def recall(truth: IndexArray, found: IndexArray) -> float:
    """Measure the share of the true neighbours, (m, k) row numbers, that are among those found."""
    both = np.sort(np.hstack([truth, found]), axis=1)
    return np.count_nonzero(both[:, 1:] == both[:, :-1]) / truth.size


def _probed(index: ExactIndex, sample: FloatArray, truth: IndexArray) -> NeighborIndex:
    """Search only the cells around a query where the rows are very many."""
    return index if len(index.rows) <= CELL_ROWS else CellIndex.build(index.rows, sample, truth, _PROBED_RECALL)
