"""Patients of the service's images: what all images of one say together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from msde.method.patient_score import PatientCalibration
from msde.method.volume_score import volume_score
from msde.output.words import counted, how_often
from msde.serve.models import Current
from msde.serve.schemas import OfPatient
from msde.serve.storage.queue import WAITING
from msde.serve.storage.tables import Image, Score

MOST_IMAGES = 2_000
"""Of one patient; more are files anonymised alike, which tell nothing of patients."""
_TOO_MANY = f"No p-value of the patient: more than {MOST_IMAGES:,} images state this one, as files anonymised alike do"
_AT_ONCE = 500
_NEEDED = (Image.patient, Score.state, Score.version_id, Score.n_parts, Score.anomaly_score, Score.part_scores)


@dataclass(frozen=True)
class _Scored:
    """An image of a patient as the version in use has scored it, or has not."""

    state: str
    scores: NDArray[np.float64] | None  # of the image, or of all parts of a volume; None where they are not kept


def say_of_patients(
    session: Session, current: Current, calibration: PatientCalibration | None, patients: Collection[str]
) -> dict[str, OfPatient]:
    """Say what all images of each patient say together, of those with several.

    Parameters
    ----------
    session : Session
    current : Current
    calibration : PatientCalibration or None
        Of the version in use; where there is none, nothing is said.
    patients : collection of str
        Their digests.
    """
    if calibration is None:
        return {}
    said: dict[str, OfPatient] = {}
    wanted = sorted(patients)
    for start in range(0, len(wanted), _AT_ONCE):
        some = wanted[start : start + _AT_ONCE]
        numbers = session.execute(_of_patients(current, some, Image.patient, func.count()).group_by(Image.patient))
        counts: dict[str, int] = {row[0]: row[1] for row in numbers}
        said |= {patient: _without_score(n, _TOO_MANY) for patient, n in counts.items() if n > MOST_IMAGES}
        several = [patient for patient, n in counts.items() if 1 < n <= MOST_IMAGES]
        found: dict[str, list[_Scored]] = defaultdict(list)
        for patient, *score in session.execute(_of_patients(current, several, *_NEEDED).order_by(Image.id)):
            found[patient].append(_scored(current, *score))
        said |= {patient: _said(images, calibration, current) for patient, images in found.items()}
    return said


def _of_patients(current: Current, patients: Sequence[str], *what: Any) -> Select[Any]:
    """Select from the latest scores of the images of patients by a model."""
    of_model = Score.model_id == current.model_id, Score.shown, Score.state != "unsuited"
    of_patients = Image.patient.in_(patients), *of_model
    return select(*what).join(Score, Score.image_id == Image.id).where(*of_patients)


def _scored(
    current: Current,
    state: str,
    version_id: int,
    n_parts: int,
    value: float | None,
    part_scores: NDArray[np.float64] | None,
) -> _Scored:
    state = "queued" if state in WAITING or version_id != current.version_id else state
    if part_scores is not None:
        return _Scored(state, part_scores)
    return _Scored(state, None if n_parts > 1 or value is None else np.array([value]))


def _said(images: Sequence[_Scored], calibration: PatientCalibration, current: Current) -> OfPatient:
    """Put the images of a patient together, as :class:`msde.model.patient_score.PatientScore` does."""
    n = len(images)
    why = _why_not(images)
    if why is not None:
        return _without_score(n, why)
    scores = np.concatenate([image.scores for image in images if image.scores is not None])
    p_value = calibration.p_value(scores)
    return OfPatient(
        images=n,
        anomaly_score=volume_score(scores),
        p_value=p_value,
        flagged=p_value <= current.highest_p,
        words=f"Of the {n} images known to be of the patient: {how_often(p_value, calibration.n_patients, 'patient')}",
    )


def _without_score(n: int, why: str) -> OfPatient:
    return OfPatient(images=n, anomaly_score=None, p_value=None, flagged=None, words=why)


def _why_not(images: Sequence[_Scored]) -> str | None:
    """Say why images of a patient have no p-value together, if they have none."""
    states: Mapping[str, int] = {state: sum(image.state == state for image in images) for state in ("failed", "queued")}
    of = f"of the patient's {counted(len(images), 'image')}"
    if states["failed"]:
        return f"No p-value of the patient: {states['failed']} {of} cannot be used"
    if states["queued"]:
        return f"No p-value of the patient yet: {states['queued']} {of} wait for this version's score"
    if any(image.scores is None for image in images):
        return (
            f"No p-value of the patient: not all slices' scores {of} are kept, as they were scored by an earlier msde"
        )
    return None
