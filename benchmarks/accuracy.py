"""AUROC and AP of the default model on every set of shared/data, as a Markdown table.

Run: python benchmarks/accuracy.py [SHARED]     (by default $MSDE_SHARED or ../shared)
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from msde import AnomalyModel, MSDEDetector
from msde.evaluation.evaluation import evaluate_model
from msde.images import find_images
from msde.method.gaussian import fit_ledoit_wolf
from msde.method.metrics import discrimination
from msde.method.standardizer import Standardizer

shared = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("MSDE_SHARED", "../shared"))


def embeddings(model: AnomalyModel, folder: Path) -> np.ndarray:
    return np.stack([image.embedding for image in model.embed(folder) if image.embedding is not None])


def row(folder: Path) -> list[float]:
    """Print one set's figures; return the two AUROCs."""
    model = AnomalyModel(detector=MSDEDetector()).fit(folder / "train/normal")
    parts = [find_images([folder / "test" / label]) for label in ("normal", "abnormal")]
    figures = evaluate_model(model, *parts).figures()
    train, normal, abnormal = (embeddings(model, folder / p) for p in ("train/normal", "test/normal", "test/abnormal"))
    standardizer = Standardizer.fit(train)
    gaussian = fit_ledoit_wolf(standardizer.apply(train))
    plain = discrimination(*(gaussian.mahalanobis(standardizer.apply(x)) for x in (normal, abnormal)), 1).auroc.value
    (low, high), (ap_low, ap_high) = figures["auroc_ci"], figures["ap_ci"]
    print(
        f"| {folder.name} | {len(train)} / {figures['n_normal']} / {figures['n_abnormal']} "
        f"| {figures['auroc']:.3f} ({low:.3f} to {high:.3f}) | {figures['ap']:.3f} ({ap_low:.3f} to {ap_high:.3f}) "
        f"| {plain:.3f} | {figures['false_alarm_rate']:.1%} | {figures['sensitivity']:.1%} |",
        flush=True,
    )
    return [figures["auroc"], plain]


COLUMNS = [
    "set",
    "train / normal / abnormal",
    "AUROC (95 % interval)",
    "AP (95 % interval)",
    "AUROC, plain Gaussian",
    "flagged normals",
    "flagged abnormals",
]
print(f"| {' | '.join(COLUMNS)} |")
print("|---" * len(COLUMNS) + "|")
aurocs = [row(path.parents[1]) for path in sorted((shared / "data").glob("*/train/normal"))]
ours, plain = np.mean(aurocs, axis=0)
print(f"| **mean** | | **{ours:.3f}** | | {plain:.3f} | | |")
