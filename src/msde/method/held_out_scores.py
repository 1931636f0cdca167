"""Scores of training normals as new images get them: each group by the others, and as if these were all normals."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from msde.method.arrays import FloatArray, IndexArray, evenly_spaced
from msde.method.held_out_shift import HeldOutShift
from msde.method.leave_group_out import LeaveGroupOut, Pulls
from msde.method.scorers import InductiveScorer
from msde.method.standardizer import HeldOutStandardizer

MOST_PAIRED = 300
FEWEST_PAIRS = 2

_LEAST = np.finfo(np.float64).eps
_MOST_GROWTH = 0.5  # far beyond what a group is worth, but where rows are all alike


@dataclass(frozen=True)
class HeldOut:
    """Normals scored without their groups, for a scorer with a Ledoit-Wolf Gaussian that was fitted to all of them.

    Fewer normals make other distances, and new images are scored by a fit to all. What a group is worth shows where two
    are left out in place of one; so much is taken back, which leaves errors of second order (the jackknife of
    Quenouille, "Notes on bias in estimation", Biometrika 43:353, 1956).

    Parameters
    ----------
    scorer : InductiveScorer
    rows : ndarray of shape (n, d)
        Embeddings of its normals, in their order at the fit.
    groups : ndarray of shape (n,), int
        Number of each row's group, from 0, none left out.
    """

    scorer: InductiveScorer
    rows: FloatArray
    groups: IndexArray

    @property
    def scores(self) -> NDArray[np.float64]:
        """Held-out scores in the order of the rows; none of fewer than three rows or two groups."""
        return self._measured[1]

    @property
    def without_own(self) -> NDArray[np.float64]:
        """Scores of the rows by a fit to the other groups; none of fewer than three rows or two groups."""
        return self._measured[0]

    @cached_property
    def _measured(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        n_groups = int(self.groups.max(initial=0)) + 1
        if len(self.rows) < 3 or n_groups < 2:
            return np.empty(0), np.empty(0)
        normals = _Normals.of(self.scorer, self.rows)
        alone = normals.distances(self.groups, np.arange(n_groups))
        n_pairs = (n_groups + 1) // 2
        if n_pairs < FEWEST_PAIRS:
            return alone, alone
        size = np.bincount(self.groups)
        # Ranked by their scores, so that neither names nor order decide who is left out with whom.
        rank = np.argsort(np.argsort(np.bincount(self.groups, alone) / size, kind="stable"))
        pairs = rank[self.groups] % n_pairs
        some = evenly_spaced(n_pairs, max(FEWEST_PAIRS, n_pairs * MOST_PAIRED // len(self.rows)))
        seen, own = np.isin(pairs, some), size[self.groups]
        further = (np.bincount(pairs)[pairs] - own)[seen].sum()
        of_pairs = normals.distances(pairs, some)
        grown = np.log(np.maximum(of_pairs[seen], _LEAST)) - np.log(np.maximum(alone[seen], _LEAST))
        worth = grown.sum() / max(further, 1) * own
        return alone, alone * np.exp(-np.clip(worth, -_MOST_GROWTH, _MOST_GROWTH))


@dataclass(frozen=True)
class _Normals:
    """Normals, without a group of whom the others can be measured."""

    others: LeaveGroupOut
    standard: HeldOutStandardizer
    path: HeldOutShift | None
    variances: NDArray[np.float64]  # (d,), of what the Gaussian measures

    @classmethod
    def of(cls, scorer: InductiveScorer, rows: FloatArray) -> Self:
        standard = HeldOutStandardizer.of(scorer.standardizer, rows)
        if scorer.shift is None:
            others, path = LeaveGroupOut.of(scorer.standardizer.apply(rows), None, Pulls.none(len(rows))), None
        else:
            path, moved = HeldOutShift.of(scorer.shift, rows, scorer.standardizer.apply)
            basis = scorer.shift.axes.astype(np.float64) if moved.shape[1] < rows.shape[1] else None
            others = LeaveGroupOut.of(moved, basis, path.pulls)
        axes = others.axes if others.basis is None else others.basis @ others.axes
        return cls(others, standard, path, (axes**2) @ others.scatter)

    def distances(self, groups: IndexArray, which: IndexArray) -> NDArray[np.float64]:
        """Measure the rows of some groups without their groups; NaN for the others."""
        order = np.argsort(groups, kind="stable")
        members = np.split(order, np.cumsum(np.bincount(groups))[:-1])

        def held(block: IndexArray) -> tuple[FloatArray, NDArray[np.float64]]:
            rows, deviations = self.standard.apply(block)
            rows = rows.reshape(block.size, -1)
            if self.path is not None:
                rows = self.path.displacement(rows, groups[block.ravel()], groups[self.path.landmarks])
            # Shrinkage adds the same to all features on the others' own scale, which is not that of all.
            theirs = (self.variances / deviations**2).sum(axis=1) / max(self.variances.sum(), np.finfo(np.float64).tiny)
            return rows, theirs[:, None] * deviations**2 - 1

        return self.others.distances((members[number] for number in which), held)
