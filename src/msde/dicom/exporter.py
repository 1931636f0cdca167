"""DICOM results of the images that a model scores, as it scores them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from msde.dicom.equipment import highdicom
from msde.dicom.folder import write_datasets
from msde.dicom.result_objects import ResultObjects
from msde.errors import DataError, ImageError
from msde.images.patients import Patients
from msde.model.anomaly_model import AnomalyModel
from msde.model.patient_score import PatientScore, score_patients
from msde.model.score import ImageScore
from msde.storage.atomic import make_folder
from msde.storage.digests import digest_of


class Exporter:
    """Writes what a model says of DICOM images into a folder, as the objects that `ResultObjects` makes.

    Parameters
    ----------
    model : AnomalyModel
        Fitted.
    model_file : path-like
        The file it was loaded from; name and SHA-256 are stated in the objects.
    folder : path-like
        Made if it is missing.
    groups : Patients, optional
        How it is told which images are of one patient; by default by their headers.

    Attributes
    ----------
    skipped : int
        Scored images that are no DICOM.
    errors : list of str
        One line for each DICOM image whose objects cannot be made.

    Raises
    ------
    OutputError
        If highdicom is missing, or the folder cannot be written to.
    """

    def __init__(
        self,
        model: AnomalyModel,
        model_file: str | os.PathLike[str],
        folder: str | os.PathLike[str],
        groups: Patients | None = None,
    ) -> None:
        highdicom()
        make_folder(folder)
        sha256 = digest_of(model_file)
        self._result_objects = ResultObjects(model, Path(model_file).stem, sha256[:12], sha256)
        self._model, self._folder, self._groups = model, folder, groups or Patients()
        self.skipped = 0
        self.errors: list[str] = []

    def following(self, scores: Iterable[ImageScore]) -> Iterator[ImageScore]:
        """Write the objects of each score before it is passed on, and after the last those of patients.

        Raises OutputError if one cannot be written.
        """
        passed = []
        for score in scores:
            if score.error is None and score.volume is None:
                self._export(score)
            passed.append(score.without_heat())
            yield score
        if self._model.patients_ is not None:
            for patient in score_patients(passed, self._groups, self._model.patients_)[0]:
                self._export_patient(patient)

    def _export_patient(self, patient: PatientScore) -> None:
        """Write the reports on a patient of more than one image, volume or series."""
        if not patient.known or len({score.volume or score.path for score in patient.scores}) < 2:
            return
        try:
            write_datasets(self._result_objects.patient_reports(patient, datetime.now()), self._folder)
        except (DataError, ImageError) as error:
            self.errors.append(f"{patient.path}: the patient has no DICOM results: {error}")

    def _export(self, score: ImageScore) -> None:
        try:
            objects = self._result_objects.objects(score, datetime.now())
            if objects is None:
                self.skipped += 1
            else:
                write_datasets(objects, self._folder)
        except (DataError, ImageError) as error:
            self.errors.append(f"{score.path}: has no DICOM results: {error}")
