"""Scores of normals by the Gaussian of all others, each group left out in turn, without fitting again.

Leaving rows out, and taking their pull out of the others, changes the scatter matrix by few directions. In the axes of
the scatter of all rows its inverse follows from a small matrix a group (Woodbury, 1950), whatever is fewer, rows or
dimensions; shrinkage and mean are recomputed for each group from the same small matrices.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from msde.method.arrays import FloatArray, IndexArray
from msde.method.gaussian import shrinkage
from msde.method.parallel import in_order, single_threaded_products

Held = Callable[[IndexArray], tuple[FloatArray, NDArray[np.float64]]]

_BLOCK_BYTES = 3 * 2**20
_MOST_ROWS = 32
_SUMMED_ROWS = 256
_FEW_TIMES = 4  # groups of fewer than a fourth of the axes are few directions


@dataclass(frozen=True)
class Pulls:
    """How strongly rows are pulled by others, which must not have pulled them where these are left out.

    Parameters
    ----------
    shares : ndarray of shape (n, m + 1)
        Share of each row's last position that comes from the first position of each pulling row; a last column of 0.
    pulling : ndarray of shape (m,)
        Their row numbers.
    """

    shares: FloatArray
    pulling: IndexArray

    @classmethod
    def none(cls, n: int) -> Pulls:
        """Return what n rows that pull no other have."""
        return cls(np.zeros((n, 1)), np.empty(0, dtype=np.intp))


def _blocks(groups: Iterable[IndexArray], bytes_a_row: int) -> Iterator[IndexArray]:
    """Give row numbers (b, s) of groups of equal size s, as many as fit into a block."""
    most = max(1, min(_MOST_ROWS, _BLOCK_BYTES // bytes_a_row))
    for size, alike in groupby(sorted(groups, key=len), key=len):
        members = np.stack(list(alike))
        step = max(1, most // size)
        yield from (members[start : start + step] for start in range(0, len(members), step))


@dataclass(frozen=True)
class LeaveGroupOut:
    """Normals in the axes of their scatter, and the sums that a group is taken out of.

    Parameters
    ----------
    basis : ndarray of shape (d, p) or None
        Orthonormal axes along which the rows are given, in the dimensions of the Gaussian; None where d = p.
    mean : ndarray of shape (p,)
    axes : ndarray of shape (p, r)
        Orthonormal.
    along : ndarray of shape (n, r)
        The rows along the axes, less their mean.
    scatter : ndarray of shape (r,)
        Sums of their squares.
    skew : ndarray of shape (r,)
        Sum of the rows, each times its squared length.
    shares : ndarray of shape (n, m + 1)
        As in `Pulls`.
    place : ndarray of shape (n,)
        Column of each row in shares; the last where it pulls none.
    pulled : ndarray of shape (m + 1, r)
        Sums of the rows, each times its share.
    both : ndarray of shape (m + 1, m + 1)
        Products of the shares.
    """

    basis: NDArray[np.float64] | None
    mean: NDArray[np.float64]
    axes: NDArray[np.float64]
    along: FloatArray
    scatter: NDArray[np.float64]
    skew: NDArray[np.float64]
    shares: FloatArray
    place: IndexArray
    pulled: FloatArray
    both: FloatArray

    @classmethod
    def of(cls, rows: FloatArray, basis: NDArray[np.float64] | None, pulls: Pulls) -> LeaveGroupOut:
        """Prepare for leaving groups out.

        Parameters
        ----------
        rows : ndarray of shape (n, p)
            Normals as the Gaussian of all of them is fitted, n >= 3. Overwritten, to save room.
        basis : ndarray of shape (d, p) or None
            As in the class.
        pulls : Pulls
            What is taken out of the others where a group is left out: a row moves from it by its share times the
            group's displacements.
        """
        from scipy.linalg import eigh  # not before a fit: scoring does without SciPy
        from scipy.linalg.blas import dsyrk

        mean = rows.mean(axis=0, dtype=np.float64)
        n, p = rows.shape
        blocks = [slice(start, start + _SUMMED_ROWS) for start in range(0, n, _SUMMED_ROWS)]
        if n < p:
            offsets = rows - mean
            scatter, sides = np.linalg.eigh(offsets @ offsets.T)
        else:
            # In place, upper half alone: NumPy's ways take room for three more such matrices.
            products = np.zeros((p, p), order="F")
            for block in blocks:
                products = dsyrk(1.0, (rows[block] - mean).T, beta=1.0, c=products, overwrite_c=True)
            scatter, sides = eigh(products, lower=False, overwrite_a=True, check_finite=False, driver="evr")
            del products
        apart = scatter > n * np.finfo(np.float64).eps * scatter[-1]
        scatter, sides = (scatter, sides) if apart.all() else (scatter[apart], sides[:, apart])
        axes = offsets.T @ (sides / np.sqrt(scatter)) if n < p else sides
        if n < p:
            along = sides * np.sqrt(scatter)
        else:
            along = rows[:, : len(scatter)]
            for block in blocks:
                along[block] = (rows[block] - mean) @ axes
        shares = pulls.shares
        place = np.full(n, shares.shape[1] - 1)
        place[pulls.pulling] = np.arange(len(pulls.pulling))
        skew = np.einsum("ij,ij->i", along, along) @ along
        pulled, both = shares.T @ along, shares.T @ shares
        return cls(basis, mean, axes, along, scatter, skew, shares, place, pulled, both)

    @property
    def dim(self) -> int:
        """Dimensions of the Gaussian."""
        return len(self.mean if self.basis is None else self.basis)

    def distances(self, groups: Iterable[IndexArray], held: Held) -> NDArray[np.float64]:
        """Measure rows from the Ledoit-Wolf Gaussians of the normals without their groups.

        Parameters
        ----------
        groups : iterable of ndarray
            Row numbers of each group, which is not all normals.
        held : callable
            Gives, by row numbers (b, s) of groups, the rows as they are without their groups, (b s, p), and by how much
            the features' own shares of the shrinkage grow without them, (b, d) or (1, 1).

        Returns
        -------
        ndarray of shape (n,), float64
            What :func:`msde.method.gaussian.fit_ledoit_wolf` of the other rows gives; exactly where no row pulls and no
            share grows. Pulls change the fourth moment in the shrinkage with the trace alone, and grown shares count to
            first order. NaN for rows of no group.
        """
        distances = np.full(len(self.along), np.nan)

        def measure(block: IndexArray) -> None:
            distances[block] = self._distances(block, *held(block))

        with single_threaded_products():
            deque(in_order(measure, _blocks(groups, 64 * (len(self.scatter) + len(self.mean)))), maxlen=0)
        return distances

    def _distances(self, block: IndexArray, asked: FloatArray, grown: NDArray[np.float64]) -> NDArray[np.float64]:
        """Measure rows (b s, p) from the Gaussians without their groups, whose row numbers are (b, s)."""
        left = len(self.along) - block.shape[1]
        out = self.along[block].astype(np.float64)
        offsets = asked - self.mean
        inside = offsets @ self.axes
        whole = len(self.axes) == len(self.scatter)  # so that nothing lies beyond the axes
        beyond = (np.zeros_like(offsets) if whole else offsets - inside @ self.axes.T).reshape(*block.shape, -1)
        inside = inside.reshape(out.shape)
        moved = inside + self.mean @ self.axes
        place = self.place[block]
        own = np.take_along_axis(self.shares[block], place[:, None, :], axis=2)
        own_t = own.transpose(0, 2, 1)
        mean = (
            np.einsum("bi,bir->br", self.shares.sum(axis=0)[place] - own.sum(axis=1), moved) - out.sum(axis=1)
        ) / left
        pulled = self.pulled[place] - own_t @ out
        both = self.both[place[:, :, None], place[:, None, :]] - own_t @ own
        changes = _Changes(out, moved, pulled, mean, both, left)
        if block.shape[1] * _FEW_TIMES > len(self.scatter):
            trace, norm, solved = changes.of_matrix(self.scatter)
        else:
            trace, norm, solved = changes.of_few_directions(self.scatter)
        amount, floor = shrinkage(norm / left**2, trace / left / self.dim, self._fourth(block, trace), left, self.dim)
        # Where the others are all alike, so that rounding does not make what is inverted below singular.
        floor = np.maximum(floor, 1e-13 * self.scatter.sum() / left / self.dim)
        position = inside - mean[:, None]
        inverse = solved(position, floor, (1 - amount) / left)
        squared = np.einsum("bsr,bsr->bs", position, inverse)
        squared += np.einsum("bsp,bsp->bs", beyond, beyond) / floor[:, None]
        turned_back = inverse @ self.axes.T + beyond / floor[:, None, None]
        if self.basis is not None:
            turned_back = turned_back @ self.basis.T
        less = floor[:, None] * np.einsum("bsd,bsd->bs", turned_back * grown[:, None], turned_back)
        squared = np.maximum(squared, np.finfo(np.float64).tiny)
        return np.sqrt(squared * np.exp(-less / squared))

    def _fourth(self, block: IndexArray, trace: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum the fourth powers of the other rows' distances from their mean, grown as the trace has."""
        out, left = self.along[block].astype(np.float64), len(self.along) - block.shape[1]
        mean = -out.sum(axis=1) / left
        length = np.einsum("br,br->b", mean, mean)
        total = (self._lengths**2).sum() + 4 * (mean**2 @ self.scatter) + len(self.along) * length**2
        total += 2 * length * self._lengths.sum() - 4 * (mean @ self.skew)
        own = self._lengths[block] - 2 * np.einsum("bsr,br->bs", out, mean) + length[:, None]
        before = self.scatter.sum() - self._lengths[block].sum(axis=1) - left * length
        rest = before > np.finfo(np.float64).eps * self.scatter.sum()
        grown = np.where(rest, trace, 1) / np.where(rest, before, 1)
        return (total - (own**2).sum(axis=1)) * grown**2

    @cached_property
    def _lengths(self) -> NDArray[np.float64]:
        return np.einsum("ij,ij->i", self.along, self.along, dtype=np.float64)


Solved = Callable[[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class _Changes:
    """How the scatter of all rows changes where b groups of s are left out, in the r axes of that scatter.

    What is added to it are products of rows `out` and of the new mean, which go, of `moved` rows with each other by the
    shares that `both` they have in a row, and of `moved` with `pulled` rows.
    """

    out: NDArray[np.float64]  # (b, s, r)
    moved: NDArray[np.float64]  # (b, s, r)
    pulled: NDArray[np.float64]  # (b, s, r)
    mean: NDArray[np.float64]  # (b, r)
    both: NDArray[np.float64]  # (b, s, s)
    left: int

    def of_matrix(self, scatter: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], Solved]:
        """Change the scatter (r,) as a matrix: where rows are many, that is less than their products with each other.

        Returns its trace (b,), the sum of its squares (b,), and what divides rows (b, s, r) by it, times a scale (b,),
        with a floor (b,) on its diagonal.
        """
        half = self.moved.transpose(0, 2, 1) @ (self.both @ self.moved / 2 + self.pulled)
        matrix = half + half.transpose(0, 2, 1)
        matrix -= self.out.transpose(0, 2, 1) @ self.out
        matrix -= self.left * self.mean[:, :, None] * self.mean[:, None]
        diagonal = np.arange(len(scatter))
        matrix[:, diagonal, diagonal] += scatter

        def solved(
            rows: NDArray[np.float64], floor: NDArray[np.float64], scale: NDArray[np.float64]
        ) -> NDArray[np.float64]:
            matrix[:] *= scale[:, None, None]
            matrix[:, diagonal, diagonal] += floor[:, None]
            return np.asarray(np.linalg.solve(matrix, rows.transpose(0, 2, 1)).transpose(0, 2, 1), np.float64)

        return np.trace(matrix, axis1=1, axis2=2), np.einsum("bij,bij->b", matrix, matrix), solved

    def of_few_directions(
        self, scatter: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], Solved]:
        """Do the same by products of the rows alone (Woodbury), which is less where they are few."""
        directions = np.concatenate([self.out, self.moved, self.pulled, self.mean[:, None]], axis=1)
        change = _change(self.both, self.left)
        turned = directions.transpose(0, 2, 1)
        products = change @ (directions @ turned)
        trace = scatter.sum() + np.trace(products, axis1=1, axis2=2)
        norm = (scatter**2).sum() + np.einsum("bij,bji->b", products, products)
        norm += 2 * np.einsum("bij,bji->b", change, (directions * scatter) @ turned)

        def solved(
            rows: NDArray[np.float64], floor: NDArray[np.float64], scale: NDArray[np.float64]
        ) -> NDArray[np.float64]:
            precision = 1 / (floor[:, None] + scale[:, None] * scatter)
            weighed = directions * precision[:, None]
            across = weighed @ rows.transpose(0, 2, 1)
            inner = np.eye(change.shape[1]) + scale[:, None, None] * (change @ (weighed @ turned))
            weights = np.linalg.solve(inner, change @ across)
            return precision[:, None] * rows - scale[:, None, None] * (weights.transpose(0, 2, 1) @ weighed)

        return trace, norm, solved


def _change(both: NDArray[np.float64], left: int) -> NDArray[np.float64]:
    """Give how the scatter changes along rows left out, their displacements, what they pulled, and the new mean."""
    n, size, _ = both.shape
    out, moved, pulled = (slice(start * size, (start + 1) * size) for start in range(3))
    change = np.zeros((n, 3 * size + 1, 3 * size + 1))
    change[:, out, out] = -np.eye(size)
    change[:, moved, moved] = both
    change[:, moved, pulled] = change[:, pulled, moved] = np.eye(size)
    change[:, -1, -1] = -left
    return change
