"""AUROC lost where abnormal images hide among the training normals, as a Markdown table.

Run: python benchmarks/contamination.py CACHE_FOLDER [--draws 5]

Per set, share and draw: abnormal test images are added to the training normals until they are the stated share of them,
and no image of their patients is scored; the loss is against the same test set scored by a fit without them. "Plain
Gaussian" is the Ledoit-Wolf Gaussian on the same embeddings, "without those listed" the default fitted again without
the normals that stand out. Sets whose hidden images have nearly all patients are left out.
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
from msde.errors import DataError
from msde.method.gaussian import fit_ledoit_wolf
from msde.method.metrics import auroc
from msde.method.standardizer import Standardizer

SHARES = (0.0, 0.02, 0.05, 0.10)
SCORES = ("plain Gaussian", "inductive", "inductive without those listed")


def scores(train: np.ndarray) -> tuple[dict, MSDEDetector]:
    standardizer = Standardizer.fit(train)
    gaussian = fit_ledoit_wolf(standardizer.apply(train))
    detector = MSDEDetector().fit(train)
    plain = lambda rows: gaussian.mahalanobis(standardizer.apply(rows))  # noqa: E731
    again = MSDEDetector().fit(train[detector.trusted_])
    return dict(zip(SCORES, (plain, detector.anomaly_score, again.anomaly_score), strict=True)), detector


def found(score: str) -> str:
    return f"AUROC, {score}"


def measure(parts: list[Subset], share: float, draws: int) -> dict[str, np.ndarray]:
    """Return AUROC and what of it is lost (draw,) of each score, and precision and recall of the rows listed."""
    split = Split(*parts)
    train = split.train.rows
    clean, _ = scores(train)
    figures: dict[str, list[float]] = {
        name: [] for name in (*clean, *map(found, clean), "distrusted", "precision", "recall")
    }
    for draw in range(draws if share else 1):
        hidden, tested = hide(np.random.default_rng(draw), split, share)
        mixed, detector = scores(np.vstack([train, hidden.rows]))
        for name in clean:
            before, after = (auroc(*(score(part.rows) for part in tested)) for score in (clean[name], mixed[name]))
            figures[found(name)].append(after)
            figures[name].append(before - after)
        doubted = ~detector.trusted_
        figures["distrusted"].append(doubted.mean())
        figures["precision"].append(doubted[len(train) :].sum() / max(doubted.sum(), 1))
        figures["recall"].append(doubted[len(train) :].sum() / max(len(hidden), 1))
    return {name: np.array(values) for name, values in figures.items()}


def holds(parts: list[Subset], draws: int) -> bool:
    """Whether enough test images are left at the largest share, in every draw."""
    try:
        for draw in range(draws):
            hide(np.random.default_rng(draw), Split(*parts), SHARES[-1])
    except DataError:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--draws", type=int, default=5)
    arguments = parser.parse_args()
    print(f"| set | hidden | {' | '.join(f'lost, {name}' for name in SCORES)} | rows listed | precision | recall |")
    print("|---" * 8 + "|")
    sets = {name: parts for name, parts in load_sets(arguments.cache).items() if holds(parts, arguments.draws)}
    for share in SHARES:
        lost, left = [], []
        for name, parts in sets.items():
            cells = measure(parts, share, arguments.draws)
            lost.append([cells[score].mean() for score in SCORES])
            left.append([cells[found(score)].mean() for score in SCORES])
            rest = " | ".join(f"{cells[c].mean():.0%}" for c in ("distrusted", "precision", "recall"))
            print(f"| {name} | {share:.0%} | {' | '.join(f'{one:+.3f}' for one in lost[-1])} | {rest} |", flush=True)
        print(f"| **mean** | {share:.0%} | {' | '.join(f'{one:+.4f}' for one in np.mean(lost, axis=0))} | | | |")
        print(f"| **mean AUROC** | {share:.0%} | {' | '.join(f'{one:.4f}' for one in np.mean(left, axis=0))} | | | |")


main()
