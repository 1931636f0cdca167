"""Embedded images of one kind before a fit or a calibration: those that can be used, and what became of the others."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from msde.embedding.embed import Embedded
from msde.errors import DataError
from msde.images.patients import Key, settled
from msde.method.arrays import IndexArray
from msde.method.calibration import Calibration
from msde.method.groups import UNKNOWN, apart, completed, joined
from msde.method.patient_score import PatientCalibration
from msde.method.volume_score import volume_score

Keys = Callable[[Embedded], Iterable[Key]]
"""Gives what tells the patient of an image; called once an image, in order."""

_UNUSABLE = -1


def without_keys(image: Embedded) -> Iterable[Key]:
    """Tell of no image which patient it is of."""
    return ()


@dataclass(frozen=True)
class TrainingSet:
    """Usable, distinct images of one kind, and what became of the others.

    Where the group of every row is known, rows are in the order of their digests, so that nothing depends on the order
    or the names of the files.
    """

    rows: NDArray[np.float32]
    names: list[str]
    digests: list[bytes]
    errors: list[str]
    volumes: dict[str, list[int]]  # the row of each one's parts, or _UNUSABLE
    peak: float
    keys: list[frozenset[Key]]  # what tells the patient of each row
    notes: list[str] = field(default_factory=list)  # what is to be told of the patients
    copies: Mapping[bytes, Sequence[str]] = field(default_factory=dict)  # names of further images by digest

    @classmethod
    def collect(cls, embedded: Iterable[Embedded], kind: str, at_least: int, keys: Keys = without_keys) -> Self:
        """Collect embedded images of one kind, named in errors; images that share a key are of one patient.

        Raises
        ------
        DataError
            If fewer than `at_least` different ones can be used.
        """
        rows: list[NDArray[np.float32]] = []
        names: list[str] = []
        digests: dict[bytes, int] = {}
        errors: list[str] = []
        copies: dict[bytes, list[str]] = {}
        volumes: dict[str, list[int]] = {}
        known: list[set[Key]] = []
        peak = 0.0
        for image in embedded:
            of_image = keys(image)
            if image.embedding is None:
                errors.append(image.error or "")
            elif image.digest in digests:  # a copy among the held-out normals would vouch for itself
                copies.setdefault(image.digest, []).append(image.name)
                known[digests[image.digest]].update(of_image)
            else:
                digests[image.digest] = len(rows)
                rows.append(image.embedding)
                names.append(image.name)
                known.append(set(of_image))
            peak = max(peak, image.peak)
            if image.volume is not None:
                volumes.setdefault(image.volume, []).append(digests.get(image.digest, _UNUSABLE))
        if len(rows) < at_least:
            n_copies = sum(map(len, copies.values()))
            reason = f" ({errors[0]})" if errors else ""
            n = len(rows) + len(errors) + n_copies
            of_these = f", {n_copies} are copies" if n_copies else ""
            raise DataError(
                f"{len(rows)} of {n} {kind} images can be used{of_these}{reason}; give at least {at_least} of them"
            )
        told, note = settled(known, one_is_none=True)
        notes = [note] if note else []
        found = cls(np.stack(rows), names, list(digests), errors, volumes, peak, told, notes, copies)
        return found if (found.groups == UNKNOWN).any() else found._in_order_of_digests()

    @classmethod
    def union(cls, sets: Sequence[Self]) -> Self:
        """Put sets together; of copies the first stays, and is of the patients of all."""
        place: dict[bytes, int] = {}
        names: list[str] = []
        keys: list[set[Key]] = []
        volumes: dict[str, list[int]] = {}
        copies: dict[bytes, list[str]] = {}
        kept = []
        for one in sets:
            first = np.array([place.setdefault(digest, len(place)) for digest in one.digests], dtype=np.intp)
            fresh = first >= len(keys)
            for row, number in enumerate(first.tolist()):
                digest = one.digests[row]
                if fresh[row]:
                    names.append(one.names[row])
                    keys.append(set())
                else:
                    copies.setdefault(digest, []).append(one.names[row])
                if digest in one.copies:
                    copies.setdefault(digest, []).extend(one.copies[digest])
                keys[number] |= one.keys[row]
            kept.append(one.rows[fresh])
            for name, members in one.volumes.items():
                volumes[name] = [_UNUSABLE if row == _UNUSABLE else int(first[row]) for row in members]
        found = cls(
            np.concatenate(kept),
            names,
            list(place),
            [error for one in sets for error in one.errors],
            volumes,
            max(one.peak for one in sets),
            list(map(frozenset, keys)),
            [note for one in sets for note in one.notes],
            copies,
        )
        return found if (found.groups == UNKNOWN).any() else found._in_order_of_digests()

    def only(self, chosen: NDArray[np.bool_]) -> Self:
        """Return the chosen rows (n,), without what became of other images.

        A volume that loses a part is whole no longer.
        """
        place = np.where(chosen, np.cumsum(chosen) - 1, _UNUSABLE)
        return replace(
            self,
            rows=self.rows[chosen],
            names=[name for name, stays in zip(self.names, chosen, strict=True) if stays],
            digests=[digest for digest, stays in zip(self.digests, chosen, strict=True) if stays],
            volumes={
                name: [_UNUSABLE if row == _UNUSABLE else int(place[row]) for row in members]
                for name, members in self.volumes.items()
            },
            keys=[of_row for of_row, stays in zip(self.keys, chosen, strict=True) if stays],
            errors=[],
            notes=[],
            copies={},
        )

    @property
    def n_copies(self) -> int:
        """Number of further images that are exact copies of these."""
        return sum(map(len, self.copies.values()))

    @cached_property
    def groups(self) -> IndexArray:
        """The number of each row's group (n,): of its patient, or its volume; -1 where nothing tells it."""
        of_rows: list[set[Hashable]] = list(map(set, self.keys))
        for name, members in self.volumes.items():
            for row in members:
                if row != _UNUSABLE:
                    of_rows[row].add(("volume", name))
        return joined(of_rows)

    @cached_property
    def patients(self) -> IndexArray:
        """The group of each row (n,) whose patient is told by more than its volume; -1 for the others."""
        told = self.groups[list(map(bool, self.keys))]
        return np.where(np.isin(self.groups, told), self.groups, UNKNOWN)

    @property
    def whole(self) -> list[list[int]]:
        """The volumes of which all parts can be used; of copies the first."""
        return list({tuple(sorted(rows)): rows for rows in self.volumes.values() if _UNUSABLE not in rows}.values())

    @property
    def held_out(self) -> IndexArray | None:
        """The number of what each row is held out with: its group, or a run of neighbours; None where none is known."""
        if (self.groups == UNKNOWN).all():
            return None
        numbers = completed(self.groups)
        return numbers if len(np.unique(numbers)) > 1 else None

    def calibrations(
        self, scores: NDArray[np.float64], alpha: float, source: str, confidence: float | None = None
    ) -> tuple[Calibration, Calibration | None, PatientCalibration | None]:
        """Calibrate on the held-out scores of the rows (n,): single images, whole volumes, and all of a patient.

        None stands for kinds of which there is nothing. `source` says where the scores come from, up to their kind.
        """
        units, known = apart(self.groups), self.patients != UNKNOWN
        by = "" if units is None else ", by patient" if known.any() else ", by volume"
        images = Calibration.of(scores, alpha, f"{source} normals{by}", units, confidence)
        volumes = patients = None
        if self.whole and len(scores):
            of_volumes = np.array([volume_score(scores[rows]) for rows in self.whole])
            groups = self.groups[[rows[0] for rows in self.whole]]
            volumes = Calibration.of(of_volumes, alpha, f"{source} volumes{by}", groups, confidence)
        if known.any() and len(scores):
            patients = PatientCalibration(scores[known], self.patients[known], alpha, f"{source} patients")
        return images, volumes, patients

    def _in_order_of_digests(self) -> Self:
        order = sorted(range(len(self.rows)), key=self.digests.__getitem__)
        place = {row: number for number, row in enumerate(order)} | {_UNUSABLE: _UNUSABLE}
        return replace(
            self,
            rows=self.rows[order],
            names=[self.names[row] for row in order],
            digests=[self.digests[row] for row in order],
            volumes={name: [place[row] for row in members] for name, members in self.volumes.items()},
            keys=[self.keys[row] for row in order],
        )
