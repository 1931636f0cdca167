"""Scored images in the order in which to look at them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import tee
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from msde.embedding.embed import Embedded, Tick, ticking
from msde.images import Part
from msde.images.patients import Patients
from msde.method.drift import Drift
from msde.model.anomaly_model import AnomalyModel
from msde.model.nearest_labelled import NearestLabelled
from msde.model.nearest_normals import NearestNormals
from msde.model.patient_score import PatientScore, score_patients
from msde.model.score import ImageScore

SLICES = 5
MOST_HEAT = 255


@dataclass(frozen=True, eq=False)
class Picture:
    """One image, or one slice of a volume.

    Parameters
    ----------
    score : ImageScore
        Its own, without heat.
    alike : tuple of int
        Numbers of the normals most like it, the nearest first.
    labelled : tuple of int
        Likewise of the labelled abnormal images.
    heat : ndarray of shape (56 * 56,), uint8, optional
        Its heat, `MOST_HEAT` standing for 1: there may be very many.
    """

    score: ImageScore
    alike: tuple[int, ...]
    labelled: tuple[int, ...] = ()
    heat: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Case:
    """One line of the worklist: an image or a volume.

    Parameters
    ----------
    score : ImageScore
        Of the image or the volume.
    pictures : tuple of Picture
        What can be shown of it: the image, or the volume's highest slices, the highest first.
    seen_in_training : bool
        Whether the model was fitted on it as a normal, or on a slice of it.
    in_pool : bool
        Whether it, or a slice of it, was in the unlabelled pool.
    patient : PatientScore or None
        Of all images of the patient, where there are others than those of the case.
    """

    score: ImageScore
    pictures: tuple[Picture, ...]
    seen_in_training: bool = False
    in_pool: bool = False
    patient: PatientScore | None = None

    @property
    def unusable(self) -> list[ImageScore]:
        """Its score, and those of its slices, that have an error."""
        return [score for score in (self.score, *self.score.parts) if score.error is not None]


@dataclass(frozen=True)
class Worklist:
    """Cases by p-value, the lowest first, and what holds for all of them.

    Parameters
    ----------
    cases : list of Case
        Those without a p-value follow by score; those without a score are last.
    drift : Drift
        Whether the images look like the normals that the model is calibrated on.
    normals : NearestNormals or None
        What the pictures are compared with.
    labelled : NearestLabelled or None
        Labelled abnormal images likewise.
    patients : list of PatientScore
        Those who are known.
    notes : list of str
        What is to be told of the patients.
    """

    cases: list[Case]
    drift: Drift
    normals: NearestNormals | None
    labelled: NearestLabelled | None = None
    patients: list[PatientScore] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def errors(self) -> list[str]:
        """One line for each image, slice, volume or image to compare with that could not be used."""
        errors = [score.error or "" for case in self.cases for score in case.unusable]
        return errors + [error for compared in (self.normals, self.labelled) if compared for error in compared.errors]


def make_worklist(
    model: AnomalyModel,
    images: Iterable[Path | Part],
    normals: NearestNormals | None = None,
    *,
    labelled: NearestLabelled | None = None,
    groups: Patients | None = None,
    tick: Tick | None = None,
) -> Worklist:
    """Score images and put them in order.

    Parameters
    ----------
    model : AnomalyModel
        Fitted.
    images : iterable of Path and Part
        As `find_images` lists them.
    normals : NearestNormals, optional
        Normals to compare with.
    labelled : NearestLabelled, optional
        Labelled abnormal images to compare with.
    groups : Patients, optional
        How it is told which images are of one patient; by default DICOM files go by their headers.
    tick : callable, optional
        Called after each image.
    """
    embedded, scored = tee(ticking(model.embed(images, model.localizer_), tick))
    scores: list[ImageScore] = []
    cases: list[Case] = []
    slices: list[Picture] = []
    for score in model.score_embedded(scored):
        scores.append(score.without_heat())
        shown = slices if score.is_volume else _shown(score, next(embedded), normals, labelled)
        if score.is_volume:
            slices = []
        elif score.volume is not None:
            slices += shown
            continue
        digests = [one.digest for one in score.parts or (score,)]
        pooled = model.fingerprint_.count_pooled(digests)
        seen = model.fingerprint_.count_known(digests) > pooled
        highest = sorted(shown, key=lambda picture: -picture.score.anomaly_score)[:SLICES]
        cases.append(Case(scores[-1], tuple(highest), seen, pooled > 0))
    patients, notes = score_patients(scores, groups or Patients(), model.patients_)
    of_images = {score.path: patient for patient in patients for score in patient.scores if patient.known}
    cases = [replace(case, patient=_of_more(case, of_images)) for case in cases]
    known = [patient for patient in patients if patient.known]
    return Worklist(sorted(cases, key=_urgency), model.drift(scores, groups), normals, labelled, known, notes)


def _of_more(case: Case, of_images: Mapping[str, PatientScore]) -> PatientScore | None:
    """Return the patient of a case, where that has further images."""
    images = case.score.parts or (case.score,)
    patient = of_images.get(images[0].path)
    return patient if patient is not None and patient.images > len(images) else None


def _shown(
    score: ImageScore, image: Embedded, normals: NearestNormals | None, labelled: NearestLabelled | None
) -> list[Picture]:
    """Return the picture of an image, or nothing where it cannot be used."""
    if score.error is not None:
        return []
    heat = None if score.heat is None else np.rint(MOST_HEAT * score.heat).astype(np.uint8)
    alike, known = (compared.nearest(image) if compared else () for compared in (normals, labelled))
    return [Picture(score.without_heat(), alike, known, heat)]


def _urgency(case: Case) -> tuple[bool, bool, float, float]:
    score, p_value = case.score.anomaly_score, case.score.p_value
    if math.isnan(score):
        return True, True, 0.0, 0.0
    return False, math.isnan(p_value), 0.0 if math.isnan(p_value) else p_value, -score
