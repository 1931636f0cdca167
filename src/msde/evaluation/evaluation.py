"""A model measured on labelled images."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msde.embedding.embed import Tick, ticking
from msde.errors import DataError
from msde.evaluation.masks import Masks
from msde.evaluation.pixel_metrics import PixelCounter, PixelFigures
from msde.heatmaps.feature_maps import SIDE
from msde.images import Part, expanded, from_input
from msde.images.patients import Patients
from msde.method.arrays import IndexArray
from msde.method.groups import apart
from msde.method.labelled import Labelled, discrimination
from msde.method.metrics import Discrimination
from msde.method.predictive_value import PREVALENCE, PredictiveValue
from msde.model.anomaly_model import AnomalyModel
from msde.model.grouping import check_ways, number_groups
from msde.model.score import ImageScore


@dataclass(frozen=True)
class Evaluation:
    """What a model makes of images whose labels are known."""

    scores: list[ImageScore]  # of all images, unreadable ones included
    abnormal: NDArray[np.bool_]  # (n,): their labels
    discrimination: Discrimination  # AUROC and average precision
    alpha: float  # target false-alarm rate of the model
    n_seen_in_training: int  # images that the model was trained on
    patients: IndexArray  # (n,): the number of each one's patient; an image of no known patient has its own
    prevalence: float = PREVALENCE  # share of abnormal images where the model is used, for the predictive values
    pixels: PixelFigures | None = None  # of the heat maps, where masks were given
    notes: Sequence[str] = ()  # what is to be told of the patients

    @property
    def errors(self) -> list[str]:
        """One line for each image that could not be used."""
        return [score.error for score in self.scores if score.error is not None]

    def figures(self) -> dict[str, Any]:
        """Return the figures, ready for JSON.

        Returns
        -------
        dict
            auroc, auroc_ci, ap, ap_ci, ap_chance (the share of abnormal images), n_normal, n_abnormal, n_patients,
            n_unreadable, n_seen_in_training, alpha, false_alarm_rate and sensitivity (shares flagged at alpha, None in
            transductive mode), prevalence, and what to expect at it: flags_per_1000, false_flags_per_1000,
            positive_predictive_value and negative_predictive_value. With masks also pixel_auroc, pixel_ap, aupro,
            n_masks and n_regions.
        """
        usable = np.array([score.error is None for score in self.scores])
        auroc, ap = self.discrimination.auroc, self.discrimination.ap
        return {
            "auroc": auroc.value,
            "auroc_ci": [auroc.low, auroc.high],
            "ap": ap.value,
            "ap_ci": [ap.low, ap.high],
            "ap_chance": float(self.abnormal[usable].mean()),
            "n_normal": int((usable & ~self.abnormal).sum()),
            "n_abnormal": int((usable & self.abnormal).sum()),
            "n_patients": len(np.unique(self.patients[usable])),
            "n_unreadable": int((~usable).sum()),
            "n_seen_in_training": self.n_seen_in_training,
            "alpha": self.alpha,
            **self._of_flags(usable),
            **self._of_pixels(),
        }

    def _of_flags(self, usable: NDArray[np.bool_]) -> dict[str, Any]:
        false_alarms, sensitivity = self._flagged_shares(usable)
        known = false_alarms is not None and sensitivity is not None
        value = PredictiveValue(self.prevalence, false_alarms or 0.0, sensitivity or 0.0) if known else None
        return {
            "false_alarm_rate": false_alarms,
            "sensitivity": sensitivity,
            "prevalence": self.prevalence,
            "flags_per_1000": value and value.flags,
            "false_flags_per_1000": value and value.false_flags,
            "positive_predictive_value": value and value.positive,
            "negative_predictive_value": value and value.negative,
        }

    def _of_pixels(self) -> dict[str, Any]:
        if self.pixels is None:
            return {}
        return {
            "pixel_auroc": self.pixels.auroc,
            "pixel_ap": self.pixels.ap,
            "aupro": self.pixels.aupro,
            "n_masks": self.pixels.n_images,
            "n_regions": self.pixels.n_regions,
        }

    def _flagged_shares(self, usable: NDArray[np.bool_]) -> list[float | None]:
        """Return the flagged shares of normal and abnormal images with a p-value; None where there are none."""
        known = usable & np.array([score.flagged is not None for score in self.scores])
        flagged = np.array([bool(score.flagged) for score in self.scores])
        shares = [flagged[known & (self.abnormal == label)] for label in (False, True)]
        return [float(share.mean()) if len(share) else None for share in shares]

    def summary(self) -> list[str]:
        """Return the figures in words, a line each."""
        figures = self.figures()
        lines = []
        for name in ("auroc", "ap"):
            low, high = figures[f"{name}_ci"]
            chance = f"; by chance {figures['ap_chance']:.3f}" if name == "ap" else ""
            lines.append(f"{name.upper():6} {figures[name]:.3f}  (95 % interval {low:.3f} to {high:.3f}{chance})")
        counts = f"normal {figures['n_normal']}, abnormal {figures['n_abnormal']}, unreadable {figures['n_unreadable']}"
        if figures["n_patients"] < figures["n_normal"] + figures["n_abnormal"]:
            counts += f"; intervals by {figures['n_patients']} patients"
        lines.append(counts)
        shares = [(figures["false_alarm_rate"], "normal"), (figures["sensitivity"], "abnormal")]
        said = [f"{share:.1%} of the {kind} images" for share, kind in shares if share is not None]
        if said:
            lines.append(f"flagged at a target false-alarm rate of {self.alpha:g}: {' and '.join(said)}")
        if figures["flags_per_1000"] is not None:
            values = [
                f"{figures[name]:.1%} of {kind}"
                for name, kind in (
                    ("positive_predictive_value", "the flagged are abnormal"),
                    ("negative_predictive_value", "the others normal"),
                )
                if math.isfinite(figures[name])
            ]
            lines.append(
                f"where {self.prevalence:.1%} are abnormal: {figures['flags_per_1000']:.0f} flags in 1,000 images,"
                f" {figures['false_flags_per_1000']:.0f} of them false; {' and '.join(values)}"
            )
        if self.pixels is not None:
            lines.append(
                f"heat maps: pixel AUROC {self.pixels.auroc:.3f}, pixel AP {self.pixels.ap:.3f}, AUPRO"
                f" {self.pixels.aupro:.3f} (to a false-positive rate of 0.3), over the normal images and the"
                f" {self.pixels.n_images} abnormal ones with a mask ({self.pixels.n_regions} regions)"
            )
        return lines


def evaluate_model(
    model: AnomalyModel,
    normal: Sequence[Path | Part],
    abnormal: Sequence[Path | Part],
    *,
    masks: Sequence[str | os.PathLike[str]] = (),
    groups: Patients | None = None,
    prevalence: float = PREVALENCE,
    tick: Tick | None = None,
) -> Evaluation:
    """Score labelled images as one batch and compare the scores with the labels; a volume counts once, by its score.

    Parameters
    ----------
    model : AnomalyModel
        Fitted.
    normal, abnormal : sequence of Path and Part
        Images of either class, as `find_images` lists them; none may be in both.
    masks : sequence of path-like, optional
        What is abnormal in abnormal images, as :class:`msde.evaluation.masks.Masks` takes it. Of normal images nothing
        is; abnormal images without a mask do not count for the heat maps.
    groups : Patients, optional
        How it is told which images are of one patient, over whom intervals go; by default DICOM files go by their
        headers.
    prevalence : float, default=0.01
        Share of abnormal images where the model is used, in (0, 1), for the predictive values.
    tick : callable, optional
        Called after each image.

    Returns
    -------
    Evaluation

    Raises
    ------
    DataError
        If a file stands in both classes, no image of a class can be used, or masks do not fit their images.
    MSDEError
        If masks are given and the model has no heat maps.
    """
    normal, abnormal = list(expanded(normal)), list(expanded(abnormal))
    both = {os.path.realpath(path) for path in normal} & {os.path.realpath(path) for path in abnormal}
    if both:
        raise DataError(f"{min(both)}: given as normal and as abnormal; leave it out of one")
    marked = Masks(masks, abnormal) if masks else None
    localizer = model.fitted.heat_maps() if marked else None
    embedded = ticking(model.embed([*normal, *abnormal], localizer), tick)
    of_images = np.repeat([False, True], [len(normal), len(abnormal)])
    scored = list(model.score_embedded(embedded))
    images = [score for score in scored if not score.is_volume]
    scores, labels = _counted(scored, of_images)
    values = np.array([score.anomaly_score for score in scores])
    usable = np.array([score.error is None for score in scores])
    for label, name in ((False, "normal"), (True, "abnormal")):
        if not usable[labels == label].any():
            first = next(score.error for score, is_abnormal in zip(scores, labels, strict=True) if is_abnormal == label)
            raise DataError(f"none of the {name} images can be used, so there is no AUROC; the first: {first}")
    patients = groups or Patients()
    keys, numbers = number_groups([(score.parts or (score,))[0].source for score in scores], patients)
    units = apart(numbers)
    units = np.arange(len(scores)) if units is None else units
    return Evaluation(
        scores,
        labels,
        discrimination(Labelled(values[usable], labels[usable], units[usable])),
        model.calibration_.alpha,
        model.fingerprint_.count_known([image.digest for image in images if image.digest]),
        units,
        prevalence,
        _measured(model, images, of_images, marked) if marked else None,
        check_ways(patients, [score.path for score in scores], keys),
    )


def _measured(
    model: AnomalyModel, images: Sequence[ImageScore], abnormal: NDArray[np.bool_], masks: Masks
) -> PixelFigures | None:
    """Compare heat maps with masks at the images' own resolution."""
    counter = PixelCounter()
    for image, is_abnormal in zip(images, abnormal, strict=True):
        if image.heat is None:
            continue
        mask = masks.of(image.path, image.shape) if is_abnormal else None
        if mask is not None or not is_abnormal:
            heat = from_input(image.heat.reshape(SIDE, SIDE), *image.shape, aspect=model.rule.aspect)
            counter.add(heat, mask)
    return counter.figures()


def _counted(scored: Iterable[ImageScore], labels: Iterable[bool]) -> tuple[list[ImageScore], NDArray[np.bool_]]:
    """Return images that are no parts, and volumes, with their labels; a volume has that of its parts."""
    of_images = iter(labels)
    scores, counted = [], []
    label = False
    for score in scored:
        if not score.is_volume:
            label = next(of_images)
        if score.volume is None:
            scores.append(score)
            counted.append(label)
    return scores, np.array(counted)
