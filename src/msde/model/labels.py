"""Labelled abnormal images: their kinds, what a fitted model keeps of them, and what is to be told of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from msde.errors import DataError
from msde.images.patients import GroupTable, Patients
from msde.method.arrays import IndexArray
from msde.method.groups import UNKNOWN
from msde.method.scorers import LabelledScorer
from msde.model.fingerprint import Fingerprint
from msde.model.training_set import TrainingSet

Kinds = GroupTable | Mapping[str, str]
"""The kind of labelled images by path, or by the path of a folder that holds them."""

LABELLED = "like the abnormal images you labelled"
UNLIKE = "unlike the normals"
FAR = 1.6
_LISTED = 5


@dataclass(frozen=True)
class Labels:
    """What a model keeps of labelled abnormal images, beside what its scorer does.

    Parameters
    ----------
    fingerprint : Fingerprint
        Of the images.
    kinds : sequence of str
        Names of the kinds, sorted; empty where none were given.
    of_rows : ndarray of shape (k,), int64
        Number of the kind of each labelled row of the scorer; -1 where none was given.
    n_patients : int
        Of the images.
    """

    fingerprint: Fingerprint
    kinds: Sequence[str]
    of_rows: NDArray[np.int64]
    n_patients: int

    def __post_init__(self) -> None:
        """Refuse what names no kinds, such as values of a damaged model file."""
        if self.of_rows.ndim != 1 or self.of_rows.dtype.kind != "i":
            raise ValueError("kinds of labelled images must be a number each")
        if len(self.of_rows) and not -1 <= self.of_rows.min() <= self.of_rows.max() < max(len(self.kinds), 1):
            raise ValueError("kinds of labelled images must be numbers of their names, or -1")

    @classmethod
    def of(cls, labelled: TrainingSet, kinds: Kinds | None) -> Self:
        """Keep the kinds of labelled images.

        Raises
        ------
        DataError
            As `kinds_of`.
        """
        found = kinds_of(labelled, kinds)
        n_patients = len(np.unique(patients_of(labelled)))
        names = sorted({kind for kind in found if kind is not None})
        numbers = [-1 if kind is None else names.index(kind) for kind in found]
        return cls(Fingerprint.of([], labelled.digests), names, np.array(numbers, dtype=np.int64), n_patients)

    def evidence(self, scorer: LabelledScorer, rows: NDArray[np.float32]) -> list[str]:
        """Tell of embeddings (m, d) what speaks for their being abnormal, in words."""
        known, nearest = scorer.known(rows), scorer.nearest(rows)
        return [self._words(row) if like else UNLIKE for like, row in zip(known, nearest, strict=True)]

    def kind(self, row: int) -> str | None:
        """Return the kind of a labelled row of the scorer; None where none was given."""
        number = self.of_rows[row]
        return None if number < 0 else self.kinds[number]

    def _words(self, row: int) -> str:
        kind = self.kind(row)
        return LABELLED if kind is None else f"{LABELLED}, {kind}"

    def in_words(self) -> str:
        """Tell how many images of how many patients were labelled, and of which kinds."""
        facts = self.describe()
        kinds = ", ".join(f"{n} {name}" for name, n in facts["kinds"].items())
        patients = f"{facts['patients']} patient{'s' if facts['patients'] != 1 else ''}"
        images = f"{facts['images']} labelled abnormal image{'s' if facts['images'] != 1 else ''}"
        return f"{images} of {patients}" + (f": {kinds}" if kinds else "")

    def describe(self) -> dict[str, Any]:
        """Describe the labels, ready for JSON."""
        counts = Counter(self.of_rows.tolist())
        return {
            "images": len(self.of_rows),
            "patients": self.n_patients,
            "kinds": {name: counts[number] for number, name in enumerate(self.kinds)},
        }


def kinds_of(labelled: TrainingSet, kinds: Kinds | None) -> list[str | None]:
    """Return the kind of each labelled image; of copies one that any of them has.

    Raises
    ------
    DataError
        If kinds are given, and those of none of the images, or if copies have several; it lists them.
    """
    if kinds is None:
        return [None] * len(labelled.names)
    table = kinds if isinstance(kinds, GroupTable) else GroupTable.of("kinds", kinds)
    kind_of = Patients(table=table, headers=False).label
    found: list[str | None] = []
    contradictory = []
    for name, digest in zip(labelled.names, labelled.digests, strict=True):
        told = {kind: alike for alike in (name, *labelled.copies.get(digest, ())) if (kind := kind_of(alike))}
        if len(told) > 1:
            contradictory.append(" but ".join(f"{alike} is {kind}" for kind, alike in told.items()))
        found.append(next(iter(told), None))
    if contradictory:
        raise DataError(
            f"{table.path} gives copies of one image several kinds: {_listed(contradictory)}; correct all but one"
        )
    if not any(found):
        raise DataError(
            f"{table.path} tells the kind of none of the {len(found)} abnormal images, such as {labelled.names[0]}"
        )
    return found


def patients_of(labelled: TrainingSet) -> IndexArray:
    """Return the number of the patient of each labelled image (k,); one that is not known is a patient's own."""
    numbers = labelled.groups.copy()
    alone = np.flatnonzero(numbers == UNKNOWN)
    numbers[alone] = numbers.max(initial=-1) + 1 + np.arange(len(alone))
    return np.unique(numbers, return_inverse=True)[1].astype(np.intp)


def check_labels(normals: TrainingSet, labelled: TrainingSet) -> None:
    """Check that labels do not contradict the normals.

    Raises
    ------
    DataError
        If labelled abnormal images are among the normals; it lists them.
    """
    check_apart(dict(zip(normals.digests, normals.names, strict=True)), labelled)


def check_apart(normals: Mapping[bytes, str], labelled: TrainingSet) -> None:
    """Check labels as `check_labels` does, by the names of normals by their digests."""
    both = [
        f"{name} is {normals[digest]}"
        for name, digest in zip(labelled.names, labelled.digests, strict=True)
        if digest in normals
    ]
    if both:
        raise DataError(f"{len(both)} labelled abnormal images are among the normals: {_listed(both)}; correct one")


def notes_on(
    labelled: TrainingSet, labels: Labels, scorer: LabelledScorer, held_out: NDArray[np.float64]
) -> Iterator[str]:
    """Yield what is to be told of labels, a line each.

    Parameters
    ----------
    labelled : TrainingSet
    labels : Labels
    scorer : LabelledScorer
    held_out : ndarray of shape (n,)
        Scores of held-out normals.
    """
    if labels.n_patients == 1:
        yield "all labelled abnormal images are of one patient: what they share may be the patient, not the disease"
    alone = [name for name, n in labels.describe()["kinds"].items() if n == 1]
    if alone:
        yield f"of {_listed(alone)} only one image is labelled, which says little of the kind"
    if len(labelled.rows) > len(held_out):
        yield "there are more labels than normals; a classifier trained on both may do better on the labelled kinds"
    if len(labels.kinds) and (unknown := int((labels.of_rows < 0).sum())):
        yield f"the kind of {unknown} of {len(labels.of_rows)} labelled abnormal images is not given"
    far = float(np.median(scorer.scorer.score(labelled.rows)) / max(float(np.median(held_out)), 1e-9))
    if far > FAR:
        yield (
            f"the labelled abnormal images lie {far:.1f} times as far from the normals as held-out normals do (median):"
            " look whether they are of the same modality, where likeness to them tells of disease"
        )


def _listed(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + rest
