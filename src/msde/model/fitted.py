"""A fitted model as a value: all that a model file keeps, and how it scores embeddings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msde.embedding.embed import Embedded
from msde.embedding.encoder import Encoder
from msde.errors import DataError, MSDEError
from msde.heatmaps.localizer import Localizer
from msde.images import ImageRule
from msde.images.depicted import depicted
from msde.images.patients import Patients
from msde.method.calibration import Calibration, check_rate
from msde.method.drift import Drift, measure_drift
from msde.method.groups import completed
from msde.method.patient_score import PatientCalibration
from msde.method.scorers import SCORERS, LabelledScorer, Scorer
from msde.method.volume_score import volume_score
from msde.model.applicability import Applicability
from msde.model.fingerprint import Fingerprint
from msde.model.grouping import number_groups
from msde.model.labels import Labels
from msde.model.score import COLUMNS, EVIDENCE, ImageScore
from msde.model.training_set import TrainingSet
from msde.storage.records import take_apart

GIVEN = "held-out, given to calibrate:"
CONFIRMED = "cross-fitted confirmed"
"""How `source` of a calibration at the place begins: on normals given to calibrate, or confirmed by readers."""


@dataclass(frozen=True, eq=False)
class FittedModel:
    """What a fit leaves behind.

    Parameters
    ----------
    encoder : Encoder
        Makes the embeddings.
    rule : ImageRule
        How files and arrays become pixels.
    scorer : Scorer
        Scores embeddings.
    images : Calibration
        Of single images; without scores in transductive mode.
    volumes : Calibration or None
        Of whole volumes: where enough of them were among the normals to flag one, and once a recalibration was given
        some.
    patients : PatientCalibration or None
        Of all images of a patient; None where no patient of the normals was known.
    localizer : Localizer or None
        Draws heat maps; None where the fit left it out, or the network gives no feature maps.
    fingerprint : Fingerprint
        Of the training images.
    libraries : mapping of str to str
        Versions of the libraries that fitted the model.
    labels : Labels or None
        Of the labelled abnormal images that it learnt from.
    applies_to : Applicability or None
        The images that it is for; None for any.
    """

    encoder: Encoder
    rule: ImageRule
    scorer: Scorer
    images: Calibration
    volumes: Calibration | None
    patients: PatientCalibration | None
    localizer: Localizer | None
    fingerprint: Fingerprint
    libraries: Mapping[str, str]
    labels: Labels | None = None
    applies_to: Applicability | None = None

    @property
    def mode(self) -> str:
        """Name of the mode that the scorer is of."""
        return next(mode for mode, kind in SCORERS.items() if isinstance(self.scorer, kind))

    @property
    def calibrated_at_place(self) -> bool:
        """Whether normals of the place where the model is used calibrate it; a model file tells it by words alone."""
        return self.images.source.startswith((GIVEN, CONFIRMED))

    def has_seen(self, digests: Sequence[bytes]) -> NDArray[np.bool_]:
        """Tell of which images (n,) the fit has learnt, as a normal, in the pool, or by a label; by their digests."""
        known = self.fingerprint.known(digests)
        return known if self.labels is None else np.asarray(known | self.labels.fingerprint.known(digests))

    def why_not(self, source: Any) -> str | None:
        """Say why the model is not for the image of a path or Part; None where it is, or that is not known."""
        return None if self.applies_to is None else self.applies_to.why_not(depicted(source))

    def heat_maps(self) -> Localizer:
        """Return the part that draws heat maps.

        Raises
        ------
        MSDEError
            If there is none.
        """
        if self.localizer is None:
            raise MSDEError(
                "the model has no heat maps: it was fitted without them, by an older version, on fewer than 10"
                " normals, or with a network that gives no feature maps; fit again with `msde fit`"
            )
        return self.localizer

    def calibration(self, score: ImageScore) -> Calibration | None:
        """Return the calibration that holds for a score; None for a volume where none were calibrated on."""
        return self.volumes if score.is_volume else self.images

    def score(self, embedded: Iterable[Embedded]) -> Iterator[ImageScore]:
        """Score images, and after the parts of a volume, which follow each other, the volume.

        Parameters
        ----------
        embedded : iterable of Embedded
            By the encoder.

        Yields
        ------
        ImageScore
            As soon as an image comes; where a score depends on the batch, all after the last.
        """
        parts: list[ImageScore] = []
        for score in self._of_images(embedded):
            if parts and score.volume != parts[0].volume:
                yield self._of_volume(parts)
                parts = []
            if score.volume is not None:
                parts.append(score.without_heat())
            yield score
        if parts:
            yield self._of_volume(parts)

    def recalibrated(
        self, normals: TrainingSet, alpha: float | None = None, confidence: float | None = None
    ) -> FittedModel:
        """Return the model calibrated on other normals; nothing is fitted again.

        Parameters
        ----------
        normals : TrainingSet
            That the model was not fitted on.
        alpha : float, optional
            Target false-alarm rate, in (0, 1); by default the present one.
        confidence : float, optional
            Probability with which the false-alarm rate is to be at most the target; by default it is so on average.

        Returns
        -------
        FittedModel

        Raises
        ------
        DataError
            If a normal took part in the fit, or was labelled abnormal there.
        MSDEError
            As `check_scores_alone`.
        """
        self.check_scores_alone()
        named = zip(normals.names, normals.digests, strict=True)
        known = [name for name, digest in named if self.fingerprint.count_known([digest])]
        if known:
            raise DataError(
                f"{known[0]}: took part in the fit ({len(known)} of the calibration images did), where scores are too"
                " low; leave such images out"
            )
        if self.labels and (n_labelled := self.labels.fingerprint.count_known(normals.digests)):
            raise DataError(f"{n_labelled} of the calibration images were labelled abnormal at the fit; leave them out")
        if alpha is None:
            alpha = self.images.alpha
        else:
            check_rate(alpha)
        # One by one, as images are scored: in a batch, the last bits differ, and a normal may score above itself.
        held_out = np.concatenate([self.scorer.score(row[None]) for row in normals.rows])
        images, volumes, patients = normals.calibrations(held_out, alpha, GIVEN, confidence)
        return replace(self, images=images, volumes=volumes, patients=patients)

    def check_scores_alone(self) -> None:
        """Check that a score does not depend on the batch, so that it can be calibrated.

        Raises
        ------
        MSDEError
            In transductive mode.
        """
        if self.scorer.batchwise:
            raise MSDEError(
                "transductive scores depend on the batch, so there is nothing to calibrate; fit without --mode"
            )

    def drift(self, scores: Iterable[ImageScore], groups: Patients | None = None) -> Drift:
        """Measure whether scored images look like the calibrating normals.

        Parameters
        ----------
        scores : iterable of ImageScore
            Of images; those of volumes are passed over, because their parts are there.
        groups : Patients, optional
            How it is told which images are of one patient, who counts once, as a volume does; by default DICOM files
            go by their headers.
        """
        alone = [score for score in scores if not score.is_volume]
        _, numbers = number_groups([score.source for score in alone], groups or Patients())
        return measure_drift(
            self.images.scores,
            [score.anomaly_score for score in alone],
            calibration_groups=self.images.groups,
            incoming_groups=completed(numbers),
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of a table of its scores."""
        return COLUMNS if self.labels is None else (*COLUMNS, EVIDENCE)

    def describe(self) -> dict[str, Any]:
        """Describe the model, ready for JSON: networks, mode, training set, calibration, settings, versions."""
        return {
            "mode": self.mode,
            "encoder": self.encoder.describe(),
            "images": take_apart(self.rule)[1],
            "training": {
                "images": self.fingerprint.n_normals,
                "unlabelled": len(self.fingerprint.digests) - self.fingerprint.n_normals,
                "fingerprint": self.fingerprint.sha256,
                **({"labelled": self.labels.describe()} if self.labels else {}),
            },
            "calibration": {
                "source": self.images.source,
                "normals": len(self.images.scores),
                "alpha": self.images.alpha,
                "threshold": self.images.threshold if math.isfinite(self.images.threshold) else None,
                "confidence": self.images.confidence,
                "resolution": self.images.resolution,
                "units": self.images.n_units,
                "false_alarm_range": self.images.far_range(),
                "next_useful": self.images.next_useful,
                "volumes": len(self.volumes.scores) if self.volumes else 0,
                "patients": self.patients.n_patients if self.patients else 0,
            },
            "scorer": take_apart(self.scorer)[1],
            "heatmaps": self.localizer is not None,
            "applies_to": None if self.applies_to is None else take_apart(self.applies_to)[1],
            "libraries": dict(self.libraries),
        }

    def _evidence(self, rows: NDArray[np.float32]) -> list[str | None]:
        """Tell of embeddings (m, d) what speaks for their being abnormal; None where there were no labels."""
        if self.labels is None or not isinstance(self.scorer, LabelledScorer):
            return [None] * len(rows)
        return list(self.labels.evidence(self.scorer, rows))

    def _of_images(self, embedded: Iterable[Embedded]) -> Iterator[ImageScore]:
        if self.scorer.batchwise:
            yield from self._of_batch(list(embedded))
        else:
            for image in embedded:
                yield from self._of_batch([image])

    def _of_batch(self, embedded: Sequence[Embedded]) -> Iterator[ImageScore]:
        usable = [image.embedding for image in embedded if image.embedding is not None]
        scores: NDArray[np.float64] = np.full(len(embedded), np.nan)
        evidence: Iterator[str | None] = iter(())
        if usable:
            scores[[image.embedding is not None for image in embedded]] = self.scorer.score(np.stack(usable))
            evidence = iter(self._evidence(np.stack(usable)))
        for image, anomaly_score in zip(embedded, scores.tolist(), strict=True):
            said = next(evidence) if image.embedding is not None else None
            score = replace(ImageScore.of(image, anomaly_score), evidence=said)
            if image.error is not None:
                yield score.unusable(image.error)
            elif why := self.why_not(image.source):
                yield score.unusable(f"{image.name}: {why}")
            elif not math.isfinite(anomaly_score):
                yield score.unusable(f"{image.name}: has no finite score; check the image and the model")
            else:
                yield self._calibrated(score)

    def _of_volume(self, parts: Sequence[ImageScore]) -> ImageScore:
        name, n_bad = str(parts[0].volume), sum(part.error is not None for part in parts)
        value = math.nan if n_bad else volume_score(np.array([part.anomaly_score for part in parts]))
        highest = max(parts, key=lambda part: -math.inf if part.error else part.anomaly_score)
        score = ImageScore(name, value, math.nan, None, None, parts=tuple(parts), evidence=highest.evidence)
        if n_bad:
            return score.unusable(
                f"{name}: {n_bad} of its {len(parts)} parts cannot be used, so it has no score; see their lines"
            )
        return self._calibrated(score)

    def _calibrated(self, score: ImageScore) -> ImageScore:
        """Return the score with its p-value and flag, where there is a calibration for it."""
        calibration = self.calibration(score)
        if calibration is None or self.scorer.batchwise:
            return score
        value = np.array([score.anomaly_score])
        p_value, flagged = calibration.p_values(value), calibration.flagged(value)
        return replace(score, p_value=float(p_value[0]), flagged=bool(flagged[0]))
