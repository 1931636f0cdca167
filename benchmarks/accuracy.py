"""AUROC and AP of the default model on every set of shared/data, as a Markdown table.

Run: python benchmarks/accuracy.py [SHARED] [--cache FOLDER]     (by default $MSDE_SHARED or ../shared)

Intervals are bootstraps over patients, as far as file names tell them (benchmarks/shared.toml); "patients" counts those
of the test images. "Five statistics" is the AUROC of how far mean, standard deviation, red minus blue, share of black
and gradient lie from the training normals, on the mean and in standard deviations: what a detector gets without
looking. "Plain Gaussian" is the Ledoit-Wolf Gaussian on the same embeddings. Flagged are normals at a target of .01,
.05 and .10, calibrated on training normals held out by patient, and abnormals at .05. The default was chosen while
labels of the sets in `SEEN` were seen, so the others have a mean of their own. Embeddings are kept in the folder of
--cache.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from embeddings import PARTS, SHARED, patients, shared_sets
from protocol import plain
from table import print_header

from msde import AnomalyModel, MSDEDetector
from msde.benchmark.config import SetPlan
from msde.embedding.cache import EmbeddingCache
from msde.evaluation.evaluation import evaluate_model
from msde.images import Part, find_images, read_pixels
from msde.method.labelled import Labelled, discrimination
from msde.method.metrics import Metric, auroc

SEEN = frozenset(
    (
        "brain_mri_nickparvar",
        "busi_ultrasound",
        "fundus_odir_glaucoma",
        "lgg_flair_hemispheres",
        "nih_cxr_pneumonia",
    )
)
ALPHAS = (0.01, 0.05, 0.10)
BLACK = 1 / 16
MIN_SPREAD = 1e-9
COLUMNS = (
    "train / normal / abnormal",
    "patients",
    "AUROC (95 % interval)",
    "AP (95 % interval)",
    "AUROC, five statistics",
    "AUROC, plain Gaussian",
    "normals flagged at .01 / .05 / .10",
    "abnormals flagged at .05",
)


def embeddings(model: AnomalyModel, folder: Path) -> np.ndarray:
    return np.stack([image.embedding for image in model.embed(folder) if image.embedding is not None])


def plain_auroc(model: AnomalyModel, folder: Path) -> float:
    train, normal, abnormal = (embeddings(model, folder / part) for part in PARTS)
    score = plain(train)
    return auroc(score(normal), score(abnormal))


def statistics(path: Path | Part) -> tuple[float, ...]:
    pixels = read_pixels(path)
    red_minus_blue = float((pixels[..., 0] - pixels[..., 2]).mean()) if pixels.ndim == 3 else 0.0
    gray = pixels if pixels.ndim == 2 else pixels.mean(axis=2)
    gradient = float(np.hypot(*np.gradient(gray)).mean())
    return float(gray.mean()), float(gray.std()), red_minus_blue, float((gray < BLACK).mean()), gradient


def trivial_auroc(folder: Path) -> float:
    train, *tested = (np.array([*map(statistics, find_images([folder / part]))]) for part in PARTS)
    mean, spread = train.mean(axis=0), train.std(axis=0)
    spread[spread < MIN_SPREAD] = np.inf  # what never differs tells nothing
    return auroc(*(np.abs((part - mean) / spread).mean(axis=1) for part in tested))


def written(metric: Metric) -> str:
    return f"{metric.value:.3f} ({metric.low:.3f} to {metric.high:.3f})"


def measured(folder: Path, plan: SetPlan, cache: EmbeddingCache) -> list[float]:
    """Print one set's figures; return the three AUROCs."""
    train = find_images([folder / PARTS[0]])
    groups = list(patients(plan, map(str, train))) if plan.patient else None
    model = AnomalyModel(detector=MSDEDetector(), cache=cache).fit(train, groups=groups, heatmaps=False)
    evaluation = evaluate_model(model, *(find_images([folder / part]) for part in PARTS[1:]))
    figures = evaluation.figures()
    usable = [not score.error for score in evaluation.scores]
    of_patients = np.unique(patients(plan, (score.path for score in evaluation.scores)), return_inverse=True)[1][usable]
    values = np.array([score.anomaly_score for score in evaluation.scores])[usable]
    found = discrimination(Labelled(values, evaluation.abnormal[usable], of_patients))
    of_normals = values[~evaluation.abnormal[usable]]
    flagged = [replace(model.calibration_, alpha=alpha).flagged(of_normals).mean() for alpha in ALPHAS]
    aurocs = [found.auroc.value, trivial_auroc(folder), plain_auroc(model, folder)]
    cells = (
        folder.name,
        f"{len(train)} / {figures['n_normal']} / {figures['n_abnormal']}",
        str(len(np.unique(of_patients))) if plan.patient else "unknown",
        written(found.auroc),
        written(found.ap),
        *(f"{figure:.3f}" for figure in aurocs[1:]),
        " / ".join(f"{share:.1%}" for share in flagged),
        f"{figures['sensitivity']:.1%}",
    )
    print(f"| {' | '.join(cells)} |", flush=True)
    return aurocs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", nargs="?", type=Path, default=SHARED)
    parser.add_argument("--cache", type=Path)
    arguments = parser.parse_args()
    print_header("set", COLUMNS)
    with tempfile.TemporaryDirectory() as scratch:
        cache = EmbeddingCache(arguments.cache or scratch)
        sets = {folder.name: measured(folder, plan, cache) for folder, plan in shared_sets(arguments.shared)}
    print_mean("mean", list(sets.values()))
    print_mean("mean of the five seen", [aurocs for name, aurocs in sets.items() if name in SEEN])
    print_mean("mean of the others", [aurocs for name, aurocs in sets.items() if name not in SEEN])


def print_mean(name: str, aurocs: list[list[float]]) -> None:
    if aurocs:
        ours, trivial, gaussian = np.mean(aurocs, axis=0)
        print(f"| **{name}** | | | **{ours:.3f}** | | {trivial:.3f} | {gaussian:.3f} | | |")


main()
