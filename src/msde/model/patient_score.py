"""What a model says of all images of a patient."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from msde.images import Part
from msde.images.patients import Patients
from msde.method.false_discoveries import discoveries
from msde.method.groups import UNKNOWN
from msde.method.patient_score import PatientCalibration
from msde.method.volume_score import volume_score
from msde.model.grouping import check_ways, number_groups
from msde.model.score import COLUMNS, ImageScore, table_row

PATIENT_COLUMNS = (*COLUMNS, "images", "highest")
"""Of a table of patients."""


@dataclass(frozen=True)
class PatientScore:
    """One score and one p-value for all images of a patient, volumes' parts among them.

    Parameters
    ----------
    path : str
        The patient's name in the user's table or pattern; else the path of the first image, because nothing of a header
        is stated.
    anomaly_score : float
        As a volume's by its parts; NaN where one of the images could not be used.
    p_value : float
        How often a normal patient scores at least as high by as many images; NaN likewise, and where the model is not
        calibrated on patients.
    flagged : bool or None
        Whether the p-value is at most the target false-alarm rate; None likewise.
    error : str or None
        Why there is no score.
    images : int
        How many there are.
    highest : str or None
        Path of the image that scores highest.
    scores : tuple of ImageScore
        Those of the images.
    known : bool
        Whether more than its place in one volume tells the patient.
    discovery : bool or None
        As of an :class:`msde.model.score.ImageScore`.
    """

    path: str
    anomaly_score: float
    p_value: float
    flagged: bool | None
    error: str | None
    images: int
    highest: str | None
    scores: tuple[ImageScore, ...] = field(repr=False)
    known: bool = True
    discovery: bool | None = field(default=None, repr=False)

    @classmethod
    def of(cls, name: str, scores: Sequence[ImageScore], calibration: PatientCalibration | None) -> PatientScore:
        """Score a patient by the scores of all images."""
        unusable = sum(score.error is not None for score in scores)
        if unusable:
            error = f"{name}: {unusable} of {len(scores)} images of the patient cannot be used, so there is no score"
            return cls(name, math.nan, math.nan, None, error, len(scores), None, tuple(scores))
        values = np.array([score.anomaly_score for score in scores])
        p_value = math.nan if calibration is None else calibration.p_value(values)
        flagged = None if calibration is None else calibration.flagged(p_value)
        highest = scores[int(values.argmax())].path
        return cls(name, volume_score(values), p_value, flagged, None, len(scores), highest, tuple(scores))

    @property
    def sources(self) -> tuple[Path | Part, ...]:
        """The files and parts that the images are read from."""
        return tuple(source for score in self.scores for source in score.sources)

    def row(self, columns: Sequence[str] = PATIENT_COLUMNS) -> dict[str, Any]:
        """Return the columns for a table; what is missing is None."""
        return table_row(self, columns)

    def without_heat(self) -> PatientScore:
        """Return what may be kept of very many."""
        return self


def score_patients(
    scores: Iterable[ImageScore], patients: Patients, calibration: PatientCalibration | None
) -> tuple[list[PatientScore], list[str]]:
    """Put the scores of images together by patient.

    Parameters
    ----------
    scores : iterable of ImageScore
        Of images, and of volumes, which are passed over because their parts are there.
    patients : Patients
        How patients are told. An image of no known patient and no volume is a patient of its own.
    calibration : PatientCalibration or None
        None where the model has none, or scores depend on the batch.

    Returns
    -------
    list of PatientScore
        In the order of their first images.
    list of str
        What is to be told of the patients, a line each.

    Raises
    ------
    DataError
        If what was said of patients tells that of no image.
    """
    images = [score for score in scores if not score.is_volume]
    keys, numbers = number_groups([score.source for score in images], patients, one_is_none=False)
    notes = check_ways(patients, [score.path for score in images], keys)
    members: dict[tuple[str, int], list[int]] = {}
    for place, number in enumerate(numbers.tolist()):
        members.setdefault(("alone", place) if number == UNKNOWN else ("group", number), []).append(place)
    found = []
    for places in members.values():
        of_patient = [images[place] for place in places]
        score = PatientScore.of(_name(of_patient, patients), of_patient, calibration)
        found.append(replace(score, known=any(keys[place] for place in places)))
    return found, notes


def patients_with_discoveries(scores: Sequence[PatientScore], rate: float) -> list[PatientScore]:
    """Tell which patients are discoveries; see :func:`msde.model.score.with_discoveries`."""
    chosen = discoveries(np.array([score.p_value for score in scores], dtype=np.float64), rate)
    return [
        replace(score, discovery=None if math.isnan(score.p_value) else bool(found))
        for score, found in zip(scores, chosen, strict=True)
    ]


def _name(scores: Sequence[ImageScore], patients: Patients) -> str:
    labels = {patients.label(score.source) for score in scores}
    label = labels.pop() if len(labels) == 1 else None
    return label or scores[0].volume or scores[0].path
