"""AUROC lost where abnormal images hide among the training normals, as a Markdown table.

Run: python benchmarks/contamination.py CACHE_FOLDER [--draws 5]

Per set, share and draw: abnormal test images are added to the training normals until they are the stated share of them,
and no image of their patients is scored; the loss is against the same test set scored by a fit without them. "Plain
Gaussian" is the Ledoit-Wolf Gaussian on the same embeddings.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

# The matrices here are small: threads would wait for each other. NumPy reads this when it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from embeddings import load_sets

from msde import MSDEDetector
from msde.benchmark.draws import Split, Subset, hide
from msde.method.gaussian import fit_ledoit_wolf
from msde.method.metrics import auroc
from msde.method.standardizer import Standardizer

SHARES = (0.0, 0.02, 0.05, 0.10)


def scores(train: np.ndarray) -> tuple[dict, MSDEDetector]:
    standardizer = Standardizer.fit(train)
    gaussian = fit_ledoit_wolf(standardizer.apply(train))
    detector = MSDEDetector().fit(train)
    plain = lambda rows: gaussian.mahalanobis(standardizer.apply(rows))  # noqa: E731
    return {"plain Gaussian": plain, "inductive": detector.anomaly_score}, detector


def measure(parts: list[Subset], share: float, draws: int) -> dict[str, np.ndarray]:
    """Return AUROC lost (draw,) of either method, and the precision and recall of the distrusted rows."""
    split = Split(*parts)
    train = split.train.rows
    clean, _ = scores(train)
    figures: dict[str, list[float]] = {name: [] for name in (*clean, "distrusted", "precision", "recall")}
    for draw in range(draws if share else 1):
        hidden, tested = hide(np.random.default_rng(draw), split, share)
        mixed, detector = scores(np.vstack([train, hidden.rows]))
        for name in clean:
            before, after = (auroc(*(score(part.rows) for part in tested)) for score in (clean[name], mixed[name]))
            figures[name].append(before - after)
        doubted = ~detector.trusted_
        figures["distrusted"].append(doubted.mean())
        figures["precision"].append(doubted[len(train) :].sum() / max(doubted.sum(), 1))
        figures["recall"].append(doubted[len(train) :].sum() / max(len(hidden), 1))
    return {name: np.array(values) for name, values in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--draws", type=int, default=5)
    arguments = parser.parse_args()
    print("| set | hidden | lost, plain Gaussian | lost, inductive | rows distrusted | precision | recall |")
    print("|---" * 7 + "|")
    sets = load_sets(arguments.cache)
    for share in SHARES:
        lost = []
        for name, parts in sets.items():
            cells = measure(parts, share, arguments.draws)
            lost.append([cells["plain Gaussian"].mean(), cells["inductive"].mean()])
            row = " | ".join(f"{cells[c].mean():+.3f}" for c in ("plain Gaussian", "inductive"))
            rest = " | ".join(f"{cells[c].mean():.0%}" for c in ("distrusted", "precision", "recall"))
            print(f"| {name} | {share:.0%} | {row} | {rest} |", flush=True)
        plain, ours = np.mean(lost, axis=0)
        print(f"| **mean** | {share:.0%} | {plain:+.4f} | {ours:+.4f} | | | |")


main()
