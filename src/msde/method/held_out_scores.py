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
MOST_DRAWS = 8
FEWEST_GROUPS = 20  # of fewer, one is much of the whole, and those of one source vouch for each other

_LEAST = np.finfo(np.float64).eps


@dataclass(frozen=True)
class HeldOut:
    """Normals scored without their groups, for a scorer with a Ledoit-Wolf Gaussian that was fitted to all of them.

    Fewer normals make other distances, and new images are scored by a fit to all. What a group changes in the scores of
    others shows where two are left out in place of one. So much is taken back: as if new images were scored without the
    group too, as by jackknife+ (Barber et al., Annals of Statistics 49:486, 2021).

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
        if n_groups < FEWEST_GROUPS:
            return alone, alone
        return alone, alone * np.exp(-np.clip(self._worth(normals, np.log(np.maximum(alone, _LEAST))), -1, 1))

    def _worth(self, normals: _Normals, logs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Estimate by how much each row's group, left out, raises the logarithms of other held-out rows' scores."""
        size, total = np.bincount(self.groups), np.bincount(self.groups, logs)
        # Drawn by rank of the scores, so that neither names nor order decide who is left out with whom.
        rank = np.argsort(np.argsort(total / size, kind="stable"))
        n_groups, n = len(size), len(logs)
        n_pairs = (n_groups + 1) // 2
        some = evenly_spaced(n_pairs, max(FEWEST_GROUPS // 2, n_pairs * MOST_PAIRED // n))
        raised, further = [], []
        for draw in range(max(1, min(MOST_DRAWS, MOST_PAIRED // n))):
            pairs = np.random.default_rng(draw).permutation(n_groups)[rank][self.groups] % n_pairs
            seen = np.isin(pairs, some)
            without_two = np.log(np.maximum(normals.distances(pairs, some)[seen], _LEAST))
            raised.append(without_two - logs[seen])
            with_other = np.stack([np.bincount(pairs), np.bincount(pairs, logs)], axis=1)[pairs]
            further.append((with_other - np.stack([size, total], axis=1)[self.groups])[seen])
        # A group raises others by its number of rows, and more where its own scores are high.
        centred = np.array([[1, 0], [-logs.mean(), 1]]).T
        effect = np.linalg.lstsq(np.concatenate(further) @ centred, np.concatenate(raised), rcond=None)[0]
        return np.asarray((np.stack([size, total], axis=1) @ centred @ effect)[self.groups])


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
            path, moved, pulls = HeldOutShift.of(scorer.shift, rows, scorer.standardizer.apply)
            basis = scorer.shift.axes.astype(np.float64) if path.inside else None
            others = LeaveGroupOut.of(moved, basis, pulls)
        axes = others.axes if others.basis is None else others.basis @ others.axes
        return cls(others, standard, path, np.einsum("ij,ij,j->i", axes, axes, others.scatter))

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
