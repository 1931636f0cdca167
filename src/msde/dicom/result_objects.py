"""What a model says of a DICOM image, as DICOM objects."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from msde.dicom.parametric_map import parametric_map
from msde.dicom.result import Result
from msde.dicom.secondary_capture import secondary_capture
from msde.dicom.source import read_number
from msde.dicom.structured_report import structured_report
from msde.heatmaps.colours import marked
from msde.images import Part
from msde.images.dicom_header import read_header, read_text
from msde.method.volume_score import highest_parts
from msde.model.anomaly_model import AnomalyModel
from msde.model.patient_score import PatientScore
from msde.model.score import ImageScore
from msde.output.words import counted, how_often, printable

if TYPE_CHECKING:
    from pydicom import Dataset

_NAMED = 20
_LONGEST_NAME = 64
_LONGEST_EVIDENCE = 400


@dataclass(frozen=True)
class ResultObjects:
    """Makes the objects of one model.

    An image gets a structured report, and an overlay and a heat map where the model can tell where an image differs. A
    series or a file of many frames gets one report for all of it; of a series, those slices get an overlay and a heat
    map whose scores are averaged to its score.

    Parameters
    ----------
    model : AnomalyModel
        Fitted.
    name : str
        Of any length; what an attribute cannot hold is replaced.
    version : str
    sha256 : str
        Of the model file.
    """

    model: AnomalyModel
    name: str
    version: str
    sha256: str

    def objects(self, score: ImageScore, scored_at: datetime) -> Iterator[Dataset] | None:
        """Make the objects of the score of an image or a volume, not of a part of one; None where it is no DICOM.

        The same objects come out where `scored_at`, in the local time of the place, is the same. Raises DataError or
        ImageError, here or on the way, if the image has no objects; neither says anything of its values.
        """
        images = [read_header(path) for path in _files(score)]
        if not images or None in images:
            return None
        return self._objects(score, [image for image in images if image is not None], scored_at)

    def patient_reports(self, patient: PatientScore, scored_at: datetime) -> Iterator[Dataset]:
        """Make a report on all images of a patient for each study that has some; none of images that are no DICOM.

        Raises as `objects`.
        """
        calibration = self.model.patients_
        if calibration is None or math.isnan(patient.p_value):
            return
        files = dict.fromkeys(path for score in patient.scores for path in _files(score))
        studies: dict[str, list[Dataset]] = {}
        for path in files:
            if (image := read_header(path)) is not None:
                studies.setdefault(read_text(image, "StudyInstanceUID") or "", []).append(image)
        often = how_often(patient.p_value, calibration.n_patients, "patient")
        result = Result(
            anomaly_score=patient.anomaly_score,
            p_value=patient.p_value,
            threshold=math.nan,
            alpha=calibration.alpha,
            flagged=patient.flagged,
            model_name=_line(self.name),
            model_version=self.version,
            model_sha256=self.sha256,
            text=f"Of all {counted(patient.images, 'image')} of the patient together: {often}.",
            scored_at=scored_at,
        )
        for images in studies.values():
            yield structured_report(images, result, of_patient=True)

    def _objects(self, score: ImageScore, images: list[Dataset], scored_at: datetime) -> Iterator[Dataset]:
        yield structured_report(images, self._result(score, self._words(score, images), scored_at))
        if not score.is_volume:
            yield from self._pictures(images[0], score, scored_at)
        elif len(images) > 1:
            for number in _averaged_parts(score):
                yield from self._pictures(images[number], score.parts[number], scored_at)

    def _pictures(self, image: Dataset, score: ImageScore, scored_at: datetime) -> Iterator[Dataset]:
        if not self.model.explains:
            return
        explained, result = self.model.explain(score.sources[0]), self._result(score, "", scored_at)
        yield secondary_capture(image, result, marked(explained.overlay))
        yield parametric_map(image, result, explained.heat)

    def _result(self, score: ImageScore, text: str, scored_at: datetime) -> Result:
        calibration = self.model.fitted.calibration(score)
        return Result(
            anomaly_score=score.anomaly_score,
            p_value=score.p_value,
            threshold=math.nan if calibration is None else calibration.threshold,
            alpha=self.model.calibration_.alpha if calibration is None else calibration.alpha,
            flagged=score.flagged,
            model_name=_line(self.name),
            model_version=self.version,
            model_sha256=self.sha256,
            text=text,
            scored_at=scored_at,
        )

    def _words(self, score: ImageScore, images: list[Dataset]) -> str:
        kind = "volumes" if score.is_volume else "images"
        calibration = self.model.fitted.calibration(score)
        if math.isnan(score.p_value) or calibration is None:
            said = f"There is no p-value: the model is not calibrated on {kind}."
        else:
            n, as_high = len(calibration.scores), int((calibration.scores >= score.anomaly_score).sum())
            of = f" of {calibration.n_units} patients or volumes" if calibration.n_units < n else ""
            said = f"Of {n} held-out normal {kind}{of}, {as_high} score at least as high."
        if score.flagged and score.evidence:
            said += f"\nEvidence: {printable(score.evidence)[:_LONGEST_EVIDENCE]}."
        if score.is_volume:
            highest = [f"{_number(images, k)} ({score.parts[k].anomaly_score:.4g})" for k in _averaged_parts(score)]
            unit = "instance numbers" if len(images) > 1 else "frames"
            more = f" and {len(highest) - _NAMED} more" if len(highest) > _NAMED else ""
            said += (
                f"\nThe score is the mean of the highest {len(highest)} of {len(score.parts)} parts, by {unit}:"
                f" {', '.join(highest[:_NAMED])}{more}."
            )
        return said


def _files(score: ImageScore) -> list[str]:
    """List the files of an image, of a series, or of a volume in one file."""
    return list(dict.fromkeys(source.path if isinstance(source, Part) else str(source) for source in score.sources))


def _averaged_parts(score: ImageScore) -> list[int]:
    return [int(number) for number in highest_parts([part.anomaly_score for part in score.parts])]


def _number(images: list[Dataset], number: int) -> int:
    return read_number(images[number]) if len(images) > 1 else number + 1


def _line(name: str) -> str:
    """Make a name fit for an attribute of one line."""
    return "".join(c if c.isprintable() and c != "\\" else "_" for c in name)[:_LONGEST_NAME].strip() or "model"
