"""Neighbours of all rows among themselves: each distance is measured once and serves both of its rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from msde.method.arrays import FloatArray, IndexArray, evenly_spaced
from msde.method.neighbors.cells import cell_centers, nearest_centers
from msde.method.neighbors.sketch import Sketch
from msde.method.parallel import for_blocks

ROWS_PER_CELL = 300
FEWEST_ROWS = 100
SKETCH_RECALL = 0.993  # a little above the promised 99 %, for the sample tells it to some .002
_MOST_ROWS = 512  # of a cell: their distances to as many others stay small
_RANK = 8
_LARGEST_SHARE = 4
_FOUND_PER_NEIGHBOR = 3.2
_ROUNDING = 1.001
_BLOCK_ROWS = 512
_MOST_JOINED = 2048  # rows of cells that are compared at once
_SEARCHED_ROWS = 64
_HOPELESS = 0.95

# Numbers of points and of others, and their squared distances. Of at most 20,000 rows 16 bits hold the numbers.
Found = tuple[NDArray[np.uint16], NDArray[np.uint16], FloatArray]


class MutualSearch:
    """Finds the nearest neighbours of all rows among all, step by step while they move.

    A row's neighbours are chosen by a threshold instead of a partial sort of all distances: its eighth smallest
    distance to a sample of the rows. How many rows lie below is a matter of ranks, whatever the distances are, and the
    sample is so large that three times k do on average. Where k do at least, they are the nearest for certain; the few
    other rows are searched anew.

    Cells of rows that lie together are compared in pairs, with one matrix product each. A pair is left out where the
    cells lie farther apart, along the line of their centres, than any threshold reaches.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        First positions, float32 or float64.

    Attributes
    ----------
    cells : list of ndarray
        Row numbers of each cell.
    sketch : Sketch or None
        Of the first positions. It stands for the rows at the steps at which it finds a share of `SKETCH_RECALL` of the
        true neighbours of some of them: noise, which hides neighbours from it, is what the shift takes away first. A
        sketch that finds fewer than 95 % is given up, for asking it takes time too.
    """

    def __init__(self, rows: FloatArray) -> None:
        centers = cell_centers(rows, max(1, len(rows) // ROWS_PER_CELL))
        sizes = np.bincount(nearest_centers(rows, centers), minlength=len(centers))
        # A pair takes some time however few rows it has, so the rows of the smallest cells go to others.
        centers = centers[sizes >= min(FEWEST_ROWS, sizes.max())]
        nearest = nearest_centers(rows, centers)
        cells = (np.flatnonzero(nearest == cell) for cell in range(len(centers)))
        parts = (part for cell in cells for part in np.array_split(cell, -(-len(cell) // _MOST_ROWS) or 1))
        self.cells = [part for part in parts if len(part)]
        sketch = Sketch.of(rows)
        # Without axes that stand out, or with about as many as there are columns, it is of no use.
        self.sketch = sketch if 0 < sketch.axes.shape[1] < rows.shape[1] // 2 else None

    def query(self, rows: FloatArray, k: int) -> IndexArray:
        """Find the nearest rows of each row, itself among them.

        Parameters
        ----------
        rows : ndarray of shape (n, d)
            Positions of the rows now.
        k : int
            Neighbours a row, 1 <= k <= n.

        Returns
        -------
        ndarray of shape (n, k)
            Row numbers, in no stated order.
        """
        # A step reads and writes cell by cell, so the rows of a cell are put side by side.
        order = np.concatenate(self.cells)
        coordinates = self._coordinates(rows, k)
        if coordinates is None:
            points, beyond = rows[order], np.zeros(len(rows), dtype=rows.dtype)
            points -= rows.mean(axis=0)  # what all rows share would only cost digits
        else:
            points, beyond = coordinates[order, :-1], coordinates[order, -1]
        found = Pairs.of(points, beyond, [len(cell) for cell in self.cells], k).nearest()
        neighbors = np.empty((len(rows), k), dtype=np.intp)
        neighbors[order] = order[found]
        return neighbors

    def _coordinates(self, rows: FloatArray, k: int) -> FloatArray | None:
        """Give rows their coordinates in the sketch, if it finds enough of their neighbours."""
        if not self.sketch:
            return None
        coordinates, found = self.sketch.tried(rows, k)
        if found < _HOPELESS:
            self.sketch = None
        return coordinates if found >= SKETCH_RECALL else None


@dataclass(frozen=True)
class Pairs:
    """Cells of points in pairs.

    Squared distances are those of the points and, in a sketch, what both rows have beyond its axes.

    Parameters
    ----------
    left, right : ndarray of shape (n, d + 2)
        Whose products are the squared distances: points and squared lengths, so that one matrix product does it all.
    cells : list of slice
    thresholds : ndarray of shape (n,)
        Squared distances below which k others are likely.
    reach : ndarray of shape (n, c)
        Whether the threshold of a point reaches into a cell.
    k : int
    """

    left: FloatArray
    right: FloatArray
    cells: list[slice]
    thresholds: FloatArray
    reach: NDArray[np.bool_]
    k: int

    @classmethod
    def of(cls, points: FloatArray, beyond: FloatArray, sizes: list[int], k: int) -> Pairs:
        """Measure what is needed before the pairs are compared."""
        n, d = points.shape
        left, right = np.ones((n, d + 2), dtype=points.dtype), np.ones((n, d + 2), dtype=points.dtype)
        right[:, :d] = points
        np.multiply(points, -2, out=left[:, :d])
        left[:, d] = right[:, d + 1] = np.einsum("ij,ij->i", points, points) + beyond**2
        ends = np.cumsum(sizes)
        cells = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
        thresholds = thresholds_of(left, right, k)
        return cls(left, right, cells, thresholds, _reach(points, cells, thresholds), k)

    @property
    def n_measured(self) -> int:
        """How many distances `nearest` measures, beside those to the sample."""
        both = self._n_one_sided + self._n_one_sided.T
        return int(np.triu(np.minimum(both, self._sizes[:, None] * self._sizes)).sum())

    def nearest(self) -> IndexArray:
        """Find the nearest points of each point, (n, k)."""
        # For each cell what was found by which other: in that order the answer is the same whichever thread is first.
        found: list[dict[int, list[Found]]] = [{} for _ in self.cells]

        def compare(numbers: slice) -> None:
            for finder in range(len(self.cells))[numbers]:
                for piece in self._compared(finder):
                    for number, part in self._by_cell(piece):
                        found[number].setdefault(finder, []).append(part)

        for_blocks(compare, len(self.cells), 1)
        nearest = np.empty((len(self.left), self.k), dtype=np.intp)
        certain = np.empty(len(self.left), dtype=bool)

        def choose(numbers: slice) -> None:
            for number in range(len(self.cells))[numbers]:
                cell = self.cells[number]
                theirs, found[number] = chain(*(found[number][finder] for finder in sorted(found[number]))), {}
                nearest[cell], certain[cell] = self._chosen(cell, list(theirs))

        for_blocks(choose, len(self.cells), 1)
        doubtful = np.flatnonzero(~certain)
        if len(doubtful):
            nearest[doubtful] = self._searched(doubtful)
        return nearest

    def _by_cell(self, found: Found) -> Iterator[tuple[int, Found]]:
        """Part what was found by the cells of the points that it was found for."""
        points, others, distances = found
        order = np.argsort(points, kind="stable")  # of 16 bits: a radix sort
        points, others, distances = points[order], others[order], distances[order]
        first, last = np.searchsorted(self._ends, points[[0, -1]], side="right") if len(points) else (0, -1)
        borders = np.searchsorted(points, [0, *self._ends])
        for number in range(first, last + 1):
            part = slice(borders[number], borders[number + 1])
            yield number, (points[part], others[part], distances[part])

    def _chosen(self, cell: slice, found: list[Found]) -> tuple[IndexArray, NDArray[np.bool_]]:
        """Choose the k nearest of what was found for a cell's points; tell where so many were."""
        points, others, distances = (np.concatenate(parts) for parts in zip(*found, strict=True))
        order = np.argsort(points, kind="stable")
        counts = np.bincount(points - np.uint16(cell.start), minlength=cell.stop - cell.start)
        width = max(self.k, counts.max())
        # Where each goes in a rectangle with a line for each point.
        places = np.arange(len(order)) + np.repeat(width * np.arange(len(counts)) - np.cumsum(counts) + counts, counts)
        candidates = np.zeros((len(counts), width), dtype=others.dtype)
        values = np.full(candidates.shape, np.inf, dtype=distances.dtype)
        candidates.ravel()[places], values.ravel()[places] = others[order], distances[order]
        nearest = np.argpartition(values, self.k - 1, axis=1)[:, : self.k]
        return np.take_along_axis(candidates, nearest, axis=1), counts >= self.k

    def _compared(self, number: int) -> Iterator[Found]:
        """Find what the points of a cell and of those after it have below their thresholds in each other."""
        cell, points = self.cells[number], np.arange(self.cells[number].start, self.cells[number].stop)
        within = self.left[cell] @ self.right[cell].T
        np.fill_diagonal(within, -np.inf)  # a row comes before its copies, whatever rounding says
        yield self._below(within, points, cell)
        after = np.arange(number + 1, len(self.cells))
        few = self._n_one_sided[number, after] + self._n_one_sided[after, number] < len(points) * self._sizes[after]
        for other in after[few]:
            for first, second in ((number, other), (other, number)):
                reaching = self.cells[first].start + np.flatnonzero(self.reach[self.cells[first], second])
                if len(reaching):
                    products = self.left[reaching] @ self.right[self.cells[second]].T
                    yield self._below(products, reaching, self.cells[second])
        for others in self._side_by_side(after[~few]):
            distances = self.left[cell] @ self.right[others].T
            yield self._below(distances, points, others)
            below = np.flatnonzero(distances < self.thresholds[others])
            first, second = np.divmod(below, distances.shape[1])
            yield (second + others.start).astype(np.uint16), points[first].astype(np.uint16), distances.ravel()[below]

    def _side_by_side(self, numbers: IndexArray) -> Iterator[slice]:
        """Join cells that follow each other, some at a time: a larger product runs at a higher speed."""
        last: slice | None = None
        for number in numbers:
            cell = self.cells[number]
            if last and last.stop == cell.start and cell.stop - last.start <= _MOST_JOINED:
                last = slice(last.start, cell.stop)
                continue
            if last:
                yield last
            last = cell
        if last:
            yield last

    def _below(self, distances: FloatArray, points: IndexArray, others: slice) -> Found:
        """Pick from distances of points to others: numbers of the points, of the others, and the distances."""
        # Strictly below: of copies, whose distances are all equal, any number would lie at the threshold.
        below = np.flatnonzero(distances < self.thresholds[points, None])
        first, second = np.divmod(below, distances.shape[1])
        return points[first].astype(np.uint16), (second + others.start).astype(np.uint16), distances.ravel()[below]

    @cached_property
    def _ends(self) -> IndexArray:
        return np.array([cell.stop for cell in self.cells])

    @cached_property
    def _sizes(self) -> IndexArray:
        return np.array([cell.stop - cell.start for cell in self.cells])

    @cached_property
    def _n_one_sided(self) -> IndexArray:
        """How many distances it takes to compare a cell's points with another cell that their thresholds reach."""
        return np.stack([np.count_nonzero(self.reach[cell], axis=0) for cell in self.cells]) * self._sizes

    def _searched(self, points: IndexArray) -> IndexArray:
        """Find the nearest of some points among all."""
        found = np.empty((len(points), self.k), dtype=np.intp)

        def search(block: slice) -> None:
            distances = self.left[points[block]] @ self.right.T
            distances[np.arange(len(distances)), points[block]] = -np.inf
            found[block] = np.argpartition(distances, self.k - 1, axis=1)[:, : self.k]

        for_blocks(search, len(points), _SEARCHED_ROWS)
        return found


def thresholds_of(left: FloatArray, right: FloatArray, k: int) -> FloatArray:
    """Give each point its eighth smallest squared distance to a sample of the points."""
    n = len(left)
    size = min(max(_RANK, round(_RANK * n / (_FOUND_PER_NEIGHBOR * k))), n // _LARGEST_SHARE)
    sample = right[evenly_spaced(n, size)]
    thresholds = np.empty(n, dtype=left.dtype)

    def measure(block: slice) -> None:
        thresholds[block] = np.partition(left[block] @ sample.T, _RANK - 1, axis=1)[:, _RANK - 1]

    for_blocks(measure, n, _BLOCK_ROWS)
    return thresholds


def _reach(points: FloatArray, cells: list[slice], thresholds: FloatArray) -> NDArray[np.bool_]:
    """Tell into which cells the thresholds of points reach, (n, c).

    Along the line between the centres of two cells, a point is nearer to no point of the other cell than to the first
    of them on that line: what projections to a line leave out of a distance only adds to it.
    """
    centers = np.stack([points[cell].mean(axis=0) for cell in cells])
    along = points @ centers.T
    between = np.linalg.norm(centers[:, None] - centers, axis=2)
    own = np.repeat(np.arange(len(cells)), [cell.stop - cell.start for cell in cells])
    along -= along[np.arange(len(points)), own][:, None]
    along /= np.where(between > 0, between, 1)[own]
    farthest = np.stack([along[cell].max(axis=0) for cell in cells])
    # Seen from the other cell the line runs the other way, so that its farthest point comes first.
    return along + _ROUNDING * np.sqrt(np.maximum(thresholds, 0))[:, None] >= -farthest.T[own]
