"""A model measured on labelled images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msde.embedding import Embedded
from msde.errors import DataError
from msde.images import Part, expanded
from msde.metrics import Discrimination, discrimination
from msde.pipeline import AnomalyModel, ImageScore, Tick, VolumeScore, ticking


@dataclass(frozen=True)
class Evaluation:
    """What a model makes of images whose labels are known.

    Parameters
    ----------
    scores : list of ImageScore
        Of all images, unreadable ones included.
    abnormal : ndarray of shape (n,), bool
        Their labels.
    discrimination : Discrimination
        AUROC and average precision.
    alpha : float
        Target false-alarm rate of the model.
    n_seen_in_training : int
        Images that the model was trained on.
    """

    scores: list[ImageScore]
    abnormal: NDArray[np.bool_]
    discrimination: Discrimination
    alpha: float
    n_seen_in_training: int

    @property
    def errors(self) -> list[str]:
        """One line for each image that could not be used."""
        return [score.error for score in self.scores if score.error is not None]

    def figures(self) -> dict[str, Any]:
        """Return the figures, ready for JSON.

        Returns
        -------
        dict
            auroc, auroc_ci, ap, ap_ci, n_normal, n_abnormal, n_unreadable, n_seen_in_training, alpha,
            false_alarm_rate and sensitivity (shares flagged at alpha, None in transductive mode).
        """
        usable = np.array([score.error is None for score in self.scores])
        auroc, ap = self.discrimination.auroc, self.discrimination.ap
        return {
            "auroc": auroc.value,
            "auroc_ci": [auroc.low, auroc.high],
            "ap": ap.value,
            "ap_ci": [ap.low, ap.high],
            "n_normal": int((usable & ~self.abnormal).sum()),
            "n_abnormal": int((usable & self.abnormal).sum()),
            "n_unreadable": int((~usable).sum()),
            "n_seen_in_training": self.n_seen_in_training,
            "alpha": self.alpha,
            **dict(zip(("false_alarm_rate", "sensitivity"), self._flagged_shares(usable), strict=True)),
        }

    def _flagged_shares(self, usable: NDArray[np.bool_]) -> list[float | None]:
        """Give the shares of usable normal and abnormal images that are flagged; None where nothing can be."""
        flags = [score.flagged for score in self.scores]
        if all(flag is None for flag in flags):
            return [None, None]
        flagged = np.array([bool(flag) for flag in flags])
        return [float(flagged[usable & (self.abnormal == label)].mean()) for label in (False, True)]

    def summary(self) -> list[str]:
        """Return the figures in words, a line each."""
        figures = self.figures()
        lines = []
        for name in ("auroc", "ap"):
            low, high = figures[f"{name}_ci"]
            lines.append(f"{name.upper():6} {figures[name]:.3f}  (95 % interval {low:.3f} to {high:.3f})")
        counts = f"normal {figures['n_normal']}, abnormal {figures['n_abnormal']}, unreadable {figures['n_unreadable']}"
        if figures["false_alarm_rate"] is None:
            return [*lines, counts]
        flagged = (
            f"flagged at a target false-alarm rate of {self.alpha:g}: {figures['false_alarm_rate']:.1%} of the normal"
            f" and {figures['sensitivity']:.1%} of the abnormal images"
        )
        return [*lines, counts, flagged]


def evaluate_model(
    model: AnomalyModel,
    normal: Sequence[Path | Part],
    abnormal: Sequence[Path | Part],
    *,
    tick: Tick | None = None,
) -> Evaluation:
    """Score labelled images as one batch and compare the scores with the labels; a volume counts once, by its score.

    Parameters
    ----------
    model : AnomalyModel
        Fitted.
    normal, abnormal : sequence of Path and Part
        Images of either class, as `find_images` lists them; none may be in both.
    tick : callable, optional
        Called after each image.

    Returns
    -------
    Evaluation

    Raises
    ------
    DataError
        If a file stands in both classes or no image of a class can be used.
    """
    normal, abnormal = list(expanded(normal)), list(expanded(abnormal))
    both = {os.path.realpath(path) for path in normal} & {os.path.realpath(path) for path in abnormal}
    if both:
        raise DataError(f"{min(both)}: given as normal and as abnormal; leave it out of one")
    embedded = list(ticking(model.embed([*normal, *abnormal]), tick))
    of_parts = np.repeat([False, True], [len(normal), len(abnormal)])
    scores, labelled = zip(*_whole(model.score_with_volumes(embedded), embedded, of_parts), strict=True)
    labels = np.array(labelled)
    values = np.array([score.anomaly_score for score in scores])
    usable = np.array([score.error is None for score in scores])
    for label, name in ((False, "normal"), (True, "abnormal")):
        if not usable[labels == label].any():
            first = next(score.error for score, is_abnormal in zip(scores, labels, strict=True) if is_abnormal == label)
            raise DataError(f"none of the {name} images can be used, so there is no AUROC; the first: {first}")
    digests = [image.digest for image in embedded if image.error is None]
    return Evaluation(
        list(scores),
        labels,
        discrimination(values[usable & ~labels], values[usable & labels]),
        model.calibration_.alpha,
        model.fingerprint_.count_known(digests),
    )


def _whole(
    rows: Iterable[ImageScore], embedded: Sequence[Embedded], labels: NDArray[np.bool_]
) -> Iterator[tuple[ImageScore, bool]]:
    """Pass images that are no parts, and volumes, each with its label."""
    images = zip(embedded, labels, strict=True)
    label = False
    for row in rows:
        if isinstance(row, VolumeScore):
            yield row, label
            continue
        image, label = next(images)
        if image.volume is None:
            yield row, label
