"""DICOM results of the images that a model scores, as it scores them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from msde.dicom.equipment import highdicom
from msde.dicom.folder import make_folder, write_datasets
from msde.dicom.result_objects import ResultObjects
from msde.dicom.scored import Scored
from msde.errors import DataError, ImageError
from msde.images import Part
from msde.model.anomaly_model import AnomalyModel
from msde.model.score import ImageScore, VolumeScore


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

    def __init__(self, model: AnomalyModel, model_file: str | os.PathLike[str], folder: str | os.PathLike[str]) -> None:
        highdicom()
        make_folder(folder)
        with open(model_file, "rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        self._describer = ResultObjects(model, Path(model_file).stem, sha256[:12], sha256)
        self._folder = folder
        self.skipped = 0
        self.errors: list[str] = []

    def following(self, scored: Iterable[Scored]) -> Iterator[ImageScore]:
        """Write the objects of each score before it is passed on.

        Raises
        ------
        OutputError
            If an object cannot be written.
        """
        for one in scored:
            if one.score.error is None and not self._stands_in_a_volume(one):
                self._export(one)
            yield one.score

    @staticmethod
    def _stands_in_a_volume(one: Scored) -> bool:
        return isinstance(one.sources[0], Part) and not isinstance(one.score, VolumeScore)

    def _export(self, one: Scored) -> None:
        try:
            objects = self._describer.objects(one, datetime.now())
            if objects is None:
                self.skipped += 1
            else:
                write_datasets(objects, self._folder)
        except (DataError, ImageError) as error:
            self.errors.append(f"{one.score.path}: has no DICOM results: {error}")
