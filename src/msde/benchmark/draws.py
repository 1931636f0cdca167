"""Rows of a set with their patients, and draws: halves by patient, shares of abnormals, hidden and labelled ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msde.errors import DataError

LEAST_SCORED = 10


@dataclass(frozen=True)
class Subset:
    """Rows (n, ...) of images of one class, and the patient of each, (n,)."""

    rows: NDArray[Any]
    patients: NDArray[Any]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def where(self, chosen: NDArray[Any]) -> Subset:
        """Return some of the rows, by a mask or by numbers."""
        return Subset(self.rows[chosen], self.patients[chosen])


@dataclass(frozen=True)
class Split:
    """Training normals, test normals and test abnormals of a set."""

    train: Subset
    normal: Subset
    abnormal: Subset
    kinds: NDArray[np.str_] | None = None  # (m,): of each abnormal, empty where it is not known; None if none is

    @property
    def tested(self) -> list[Subset]:
        """Test normals and test abnormals."""
        return [self.normal, self.abnormal]


def halves(rng: np.random.Generator, normal: Subset, abnormal: Subset) -> Iterator[list[Subset]]:
    """Split normals and abnormals by patient; yield both of either half.

    Raises DataError if a half has no image of one class.
    """
    patients = rng.permutation(np.union1d(normal.patients, abnormal.patients))
    first = patients[: len(patients) // 2]
    for side in (True, False):
        half = [subset.where(np.isin(subset.patients, first) == side) for subset in (normal, abnormal)]
        if not all(map(len, half)):
            raise DataError("a half of the patients has no image of one class; this needs more patients")
        yield half


def at_share(rng: np.random.Generator, tested: list[Subset], share: float, every_normal: bool = False) -> list[Subset]:
    """Draw normals and abnormals so that a share in (0, 1) is abnormal: as many as there are, at least one abnormal.

    Returns both, each in random order. With `every_normal` all normals are kept where there are too few abnormals.
    """
    normal, abnormal = (subset.where(rng.permutation(len(subset))) for subset in tested)
    n_abnormal = max(1, min(len(abnormal), round(share * len(normal) / (1 - share))))
    n_normal = max(1, min(len(normal), round(n_abnormal * (1 - share) / share)))
    if n_abnormal == 1 or every_normal:
        n_normal = len(normal)
    return [normal.where(np.arange(n_normal)), abnormal.where(np.arange(n_abnormal))]


def hide(rng: np.random.Generator, split: Split, share: float) -> tuple[Subset, list[Subset]]:
    """Draw abnormals to hide among the training normals until they are a share in [0, 1) of them.

    Returns them, and the test normals and test abnormals without any image of a hidden patient. Raises DataError if
    fewer than ten images of a class are left to score.
    """
    n_hidden = round(share * len(split.train) / (1 - share))
    hidden = split.abnormal.where(rng.permutation(len(split.abnormal))[:n_hidden])
    tested = [subset.where(~np.isin(subset.patients, hidden.patients)) for subset in split.tested]
    if min(map(len, tested)) < LEAST_SCORED:
        raise DataError(f"too few test images are left where {n_hidden} are hidden; give smaller shares")
    return hidden, tested


@dataclass(frozen=True)
class Labelling:
    """Abnormals that may be labelled, in random order, and what is scored: no image of a patient who may be labelled.

    Kinds, where they are known, are those of the rows of `labels` and of `abnormal`.
    """

    labels: Subset
    normal: Subset
    abnormal: Subset
    label_kinds: NDArray[np.str_]
    kinds: NDArray[np.str_]

    def of_kind(self, kind: str) -> Subset:
        """Return what may be labelled of a kind."""
        return self.labels.where(self.label_kinds == kind)

    def of_others(self, kind: str) -> list[Subset]:
        """Return normals, and abnormals that are known to be of other kinds."""
        return [self.normal, self.abnormal.where((self.kinds != kind) & (self.kinds != ""))]


def label(rng: np.random.Generator, split: Split) -> Labelling:
    """Halve the patients of the abnormals: one half may be labelled, the other is scored.

    Raises DataError if nothing is left to label, or no image of a class to score.
    """
    abnormal = split.abnormal
    patients = rng.permutation(np.unique(abnormal.patients))
    labelled = np.isin(abnormal.patients, patients[: len(patients) // 2])
    chosen = rng.permutation(np.flatnonzero(labelled))
    kinds = np.full(len(abnormal), "") if split.kinds is None else split.kinds
    drawn = Labelling(
        abnormal.where(chosen),
        split.normal.where(~np.isin(split.normal.patients, abnormal.patients[labelled])),
        abnormal.where(~labelled),
        kinds[chosen],
        kinds[~labelled],
    )
    if not all(map(len, (drawn.labels, drawn.normal, drawn.abnormal))):
        raise DataError("nothing is left to label or to score; labels need more patients")
    return drawn
