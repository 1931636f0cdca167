"""The fit: training sets and a detector in, a fitted model out."""

from __future__ import annotations

import math
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from msde import __version__
from msde.embedding.encoder import Encoder
from msde.errors import DataError
from msde.heatmaps.localizer import Localizer
from msde.images import ImageRule
from msde.method.calibration import Calibration
from msde.method.groups import UNKNOWN, completed
from msde.method.labelled_fit import FEWEST_NORMALS
from msde.method.scorers import LabelledScorer
from msde.method.siblings import FEWEST_ROWS, nearness
from msde.method.standardizer import CompressingStandardizer
from msde.model.fingerprint import Fingerprint
from msde.model.fit_report import FitReport
from msde.model.fitted import FittedModel
from msde.model.labels import Kinds, Labels, check_labels, notes_on, patients_of
from msde.model.training_set import TrainingSet

if TYPE_CHECKING:
    from msde.method.detection import Detection

_LIBRARIES = ("numpy", "scipy", "scikit-learn", "onnxruntime", "pillow", "safetensors")


def learn(
    normals: TrainingSet,
    pool: TrainingSet | None,
    detector: Detection,
    encoder: Encoder,
    rule: ImageRule,
    localizer: Localizer | None = None,
    confidence: float | None = None,
    labelled: TrainingSet | None = None,
    kinds: Kinds | None = None,
    calibrating: TrainingSet | None = None,
    source: str | None = None,
) -> tuple[FittedModel, FitReport]:
    """Fit a model to embedded images.

    Parameters
    ----------
    normals : TrainingSet
        At least two.
    pool : TrainingSet or None
        Images as they come in, for a detector in adaptive mode.
    detector : Detection
        Fitted here.
    encoder, rule
        How the images were embedded.
    localizer : Localizer, optional
        Fitted to the feature maps of the normals.
    confidence : float, optional
        Probability with which the false-alarm rate is to be at most the target, see
        :class:`msde.method.calibration.Calibration`.
    labelled : TrainingSet, optional
        Images that are known to be abnormal, for a detector in inductive or adaptive mode.
    kinds : GroupTable or mapping of str to str, optional
        Of these.
    calibrating : TrainingSet, optional
        Those of the normals that calibrate, where others were chosen by their scores; by default all.
    source : str, optional
        What is said of them, up to their kind; by default that they are training normals.

    Returns
    -------
    FittedModel
    FitReport

    Raises
    ------
    DataError
        If a labelled abnormal image is among the normals, these are too few, kinds are those of none or contradict each
        other, or the pool has no image that is not labelled.
    """
    labels = None
    if labelled is not None:
        if len(normals.rows) < FEWEST_NORMALS:
            raise DataError(
                f"{len(normals.rows)} normals are too few to learn from labelled abnormal images beside them; give at"
                f" least {FEWEST_NORMALS}, or leave the labels out"
            )
        check_labels(normals, labelled)
        if pool is not None and set(pool.digests) <= set(labelled.digests):
            raise DataError("all unlabelled images are labelled abnormal too; give others, or leave them out")
        labels = Labels.of(labelled, kinds)
    detector.fit(
        normals.rows,
        unlabelled=None if pool is None else pool.rows,
        groups=normals.held_out,
        abnormal=None if labelled is None else labelled.rows,
        abnormal_groups=None if labelled is None else patients_of(labelled),
    )
    batchwise = detector.scorer_.batchwise
    images, volumes, patients = Calibration(np.empty(0), detector.alpha, "none: scores depend on the batch"), None, None
    if not batchwise:
        scores = detector.cross_fitted_scores()
        if calibrating is not None:
            row = {digest: number for number, digest in enumerate(normals.digests)}
            scores = scores[[row[digest] for digest in calibrating.digests]]
        images, volumes, patients = (calibrating or normals).calibrations(
            scores, detector.alpha, source or detector.held_out_from, confidence
        )
    if volumes is not None and math.isinf(volumes.threshold):
        volumes = None
    fitted = FittedModel(
        encoder,
        rule,
        detector.scorer_,
        images,
        volumes,
        patients,
        localizer,
        Fingerprint.of(normals.digests, pool.digests if pool else []),
        {"msde": __version__, **{library: version(library) for library in _LIBRARIES}},
        labels,
    )
    worst_first = np.argsort(-detector.outlyingness_, kind="stable")
    notes = normals.notes + _of_siblings(normals, detector)
    if labelled and labels and isinstance(fitted.scorer, LabelledScorer):
        notes += notes_on(labelled, labels, fitted.scorer, images.scores)
    sets = [training_set for training_set in (normals, pool, labelled) if training_set]
    report = FitReport(
        [error for training_set in sets for error in training_set.errors],
        [normals.names[row] for row in worst_first if not detector.trusted_[row]],
        sum(training_set.n_copies for training_set in sets),
        normals.peak,
        notes,
    )
    return fitted, report


def _of_siblings(normals: TrainingSet, detector: Detection) -> list[str]:
    """Tell where rows of unknown patients look like several images of each."""
    unknown = (normals.groups == UNKNOWN).all()
    if not unknown or len(normals.rows) < FEWEST_ROWS or detector.scorer_.batchwise:
        return []
    rows = CompressingStandardizer.fit(normals.rows).apply(normals.rows)
    found = nearness(rows, completed(normals.groups))
    if not found.tells:
        return []
    return [
        f"the normals lie nearer to each other (median cosine {found.all_rows:.2f}) than to those held out apart"
        f" ({found.other_groups:.2f}), as several images of a patient do; they were held out in runs of neighbours,"
        " which is not enough where names do not sort by patient: say which are of one with --patient or --groups"
    ]
