"""AUROC against the share of abnormal images in the unlabelled pool or in the scored batch, as Markdown tables.

Run: python benchmarks/prevalence.py CACHE_FOLDER [--draws 10]

Protocol, per set and draw: the patients of the test images are split in halves. One half is the source of the pool, the
other is scored. The pool has as many rows as possible at the stated share. The modes that score one image at a time
score the whole other half; the transductive method needs batches, which are drawn from the other half at the same share
(several a draw).
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

# The matrices here are small: threads would wait for each other. NumPy reads this when it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from embeddings import load_sets
from protocol import mixture, plain

from msde import MeanShiftEnhancer, MSDEDetector
from msde.benchmark.draws import Subset, halves
from msde.method.metrics import auroc

SHARES = (0.01, 0.05, 0.10, 0.20, 0.50)
BATCHES = (8, 4, 3, 2, 1)  # transductive batches a draw: fewer abnormals a batch, more batches
METHODS = ("plain Gaussian", "official transductive", "inductive", "adaptive")


def transductive(detector: MSDEDetector, rng: np.random.Generator, scored: list[Subset], share: float, n: int) -> float:
    found = []
    for _ in range(n):
        normal, abnormal = mixture(rng, scored, share)
        order = rng.permutation(len(normal) + len(abnormal))
        scores = np.empty(len(order))
        scores[order] = detector.anomaly_score(np.vstack([normal, abnormal])[order])
        found.append(auroc(scores[: len(normal)], scores[len(normal) :]))
    return float(np.mean(found))


def measure(parts: list[Subset], draws: int) -> np.ndarray:
    """Return AUROCs of shape (method, share, draw)."""
    train, normal, abnormal = parts
    official = MSDEDetector("transductive", enhancer=MeanShiftEnhancer(weighting="published"))
    official.fit(train.rows)
    alone = {"plain Gaussian": plain(train.rows), "inductive": MSDEDetector().fit(train.rows).anomaly_score}
    figures = np.empty((len(METHODS), len(SHARES), draws))
    for draw in range(draws):
        rng = np.random.default_rng(draw)
        source, scored = halves(rng, normal, abnormal)
        for column, (share, batches) in enumerate(zip(SHARES, BATCHES, strict=True)):
            pool = np.vstack(mixture(rng, source, share))
            adaptive = MSDEDetector("adaptive").fit(train.rows, unlabelled=pool)
            scores = {**alone, "adaptive": adaptive.anomaly_score}
            for row, method in enumerate(METHODS):
                if method in scores:
                    figures[row, column, draw] = auroc(*(scores[method](part.rows) for part in scored))
                else:
                    figures[row, column, draw] = transductive(official, rng, scored, share, batches)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--draws", type=int, default=10)
    arguments = parser.parse_args()
    print("| set | method | " + " | ".join(f"{share:.0%}" for share in SHARES) + " |")
    print("|---" * (2 + len(SHARES)) + "|")
    means = []
    for name, parts in load_sets(arguments.cache).items():
        figures = measure(parts, arguments.draws)
        for method, cells in zip(METHODS, figures, strict=True):
            row = (f"{cell.mean():.3f} ± {cell.std(ddof=1):.3f}" for cell in cells)
            print(f"| {name} | {method} | " + " | ".join(row) + " |", flush=True)
        means.append(figures.mean(axis=2))
    means = np.array(means)
    for method, cells in zip(METHODS, means.mean(axis=0), strict=True):
        print(f"| **mean** | {method} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |")
    worst = (means[:, 3] - means[:, :2].max(axis=1)).min(axis=0)
    print(
        "| **worst set** | adaptive minus max(plain, official) | " + " | ".join(f"{cell:+.3f}" for cell in worst) + " |"
    )


main()
