"""What a few labelled abnormal images are worth: the same images scored without labels and with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from msde.evaluation.evaluation import Evaluation, evaluate_model
from msde.images import Part, expanded
from msde.images.patients import Patients
from msde.model.anomaly_model import AnomalyModel
from msde.model.grouping import number_groups

N_LABELLED = 5


@dataclass(frozen=True)
class FewLabels:
    """One-class and labelled models on the same images, those labelled and their patients left out.

    Parameters
    ----------
    n_labelled : int
    one_class, labelled : Evaluation
    """

    n_labelled: int
    one_class: Evaluation
    labelled: Evaluation

    def lines(self) -> list[str]:
        """Return the figures of both in words, a line each."""
        return [
            f"one-class: {figures_of(self.one_class)}",
            f"with {self.n_labelled} labels: {figures_of(self.labelled)}",
            f"both on {len(self.labelled.scores)} images, without the labelled ones; in brackets 95 % intervals",
        ]


def figures_of(evaluation: Evaluation) -> str:
    """Return AUROC and average precision with their intervals, in a line."""
    auroc, ap = evaluation.discrimination.auroc, evaluation.discrimination.ap
    return ", ".join(
        f"{name} {metric.value:.3f} ({metric.low:.3f} to {metric.high:.3f})"
        for name, metric in (("AUROC", auroc), ("AP", ap))
    )


def compare_few_labels(
    model: AnomalyModel, train: Sequence[Path | Part], normal: Sequence[Path | Part], abnormal: Sequence[Path | Part]
) -> FewLabels | None:
    """Fit again with some of the abnormal images as labelled ones, and score the others by both models.

    Parameters
    ----------
    model : AnomalyModel
        Fitted on `train`; its cache spares the networks.
    train, normal, abnormal : sequence of Path and Part
        As `find_images` lists them.

    Returns
    -------
    FewLabels or None
        None where fewer than `N_LABELLED` abnormal images of other patients would be left.
    """
    train, normal, abnormal = (list(expanded(images)) for images in (train, normal, abnormal))
    few = [abnormal[number] for number in np.linspace(0, len(abnormal) - 1, N_LABELLED).round().astype(int)]
    everything = [*few, *normal, *abnormal]
    _, patients = number_groups(everything, Patients())
    known = set(patients[: len(few)].tolist()) - {-1}

    def others(images: Sequence[Path | Part], start: int) -> list[Path | Part]:
        numbers = patients[start : start + len(images)]
        return [
            image for image, number in zip(images, numbers, strict=True) if image not in few and number not in known
        ]

    normals, abnormals = others(normal, len(few)), others(abnormal, len(few) + len(normal))
    if not normals or len(abnormals) < N_LABELLED or len(set(few)) < N_LABELLED:
        return None
    labelled = AnomalyModel(model.encoder.backbones, None, model.cache, model.encoder.looks, model.rule)
    labelled.fit(train, abnormal=few, heatmaps=False)
    return FewLabels(len(few), evaluate_model(model, normals, abnormals), evaluate_model(labelled, normals, abnormals))
