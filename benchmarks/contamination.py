"""What is lost where abnormal images hide among the training normals, as Markdown tables.

Run: python benchmarks/contamination.py CACHE_FOLDER [--draws 2] [--shares 0 0.02 0.05 0.10]

Per set, share and draw: abnormal test images are added to the training normals until they are the stated share of them,
and no image of their patients is scored; losses are against the same test images scored by a fit without them.
"All fitted" is the default, "listed left out" fits the Gaussian without the normals that stand out and calibrates with
them, "abnormal ones of the list taken out" is what a reader leaves who looks the list through and fits again. "Plain
Gaussian" is the Ledoit-Wolf Gaussian on the same embeddings. Sensitivity and false-alarm rate are those at a target of
.05, held out by patient. Sets whose hidden images have nearly all patients are left out.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path

# The matrices here are small: threads would wait for each other. NumPy reads this when it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from embeddings import load_sets
from protocol import plain

from msde import MSDEDetector
from msde.benchmark.draws import Split, Subset, hide
from msde.errors import DataError
from msde.method.calibration import Calibration
from msde.method.metrics import auroc

SHARES = (0.0, 0.02, 0.05, 0.10)
ALPHA = 0.05
TREATMENTS = ("all fitted", "listed left out", "abnormal ones of the list taken out")
FIGURES = ("AUROC", "sensitivity", "false-alarm rate")

Score = Callable[[np.ndarray], np.ndarray]


def fitted(train: Subset) -> MSDEDetector:
    return MSDEDetector().fit(train.rows, groups=np.unique(train.patients, return_inverse=True)[1])


def calibrated(detector: MSDEDetector, beside: np.ndarray) -> tuple[Score, float]:
    """Return the score of a detector, and its threshold by its own normals and other rows."""
    others = detector.anomaly_score(beside) if len(beside) else []
    held_out = np.sort(np.concatenate([detector.cross_fitted_scores(), others]))
    return detector.anomaly_score, Calibration(held_out, ALPHA, "").threshold


def treat(train: Subset, hidden: np.ndarray) -> tuple[list[tuple[Score, float]], np.ndarray]:
    """Fit in every way; return scores and thresholds, and which rows are listed."""
    whole = fitted(train)
    listed, none = ~whole.trusted_, train.rows[:0]
    fewer = fitted(train.where(~listed)) if listed.any() else whole
    taken_out = listed & hidden
    clean = fitted(train.where(~taken_out)) if taken_out.any() else whole
    ways = [calibrated(whole, none), calibrated(fewer, train.rows[listed]), calibrated(clean, none)]
    return ways, listed


def figures(score: Score, threshold: float, tested: list[Subset]) -> list[float]:
    normal, abnormal = (score(part.rows) for part in tested)
    return [auroc(normal, abnormal), float(np.mean(abnormal > threshold)), float(np.mean(normal > threshold))]


def measure(split: Split, share: float, draws: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return figures (treatment, figure), plain AUROC before and after, and share, precision and recall of the list."""
    found, plains, lists = [], [], []
    for draw in range(draws if share else 1):
        hidden, tested = hide(np.random.default_rng(draw), split, share)
        train = Subset(
            np.vstack([split.train.rows, hidden.rows]), np.concatenate([split.train.patients, hidden.patients])
        )
        is_hidden = np.arange(len(train)) >= len(split.train)
        treated, listed = treat(train, is_hidden)
        found.append([figures(score, threshold, tested) for score, threshold in treated])
        plains.append([auroc(*(plain(rows)(part.rows) for part in tested)) for rows in (split.train.rows, train.rows)])
        hits = (listed & is_hidden).sum()
        lists.append([listed.mean(), hits / max(listed.sum(), 1), hits / max(is_hidden.sum(), 1)])
    return np.mean(found, axis=0), np.mean(plains, axis=0), np.mean(lists, axis=0)


def holds(split: Split, draws: int) -> bool:
    """Whether enough test images are left at the largest share, in every draw."""
    try:
        for draw in range(draws):
            hide(np.random.default_rng(draw), split, SHARES[-1])
    except DataError:
        return False
    return True


def print_choice(shares: Sequence[float], table: np.ndarray) -> None:
    """Say which of fitting all and leaving the listed out has the higher mean AUROC on the sets not left out."""
    gain = table[:, :, 1, 0] - table[:, :, 0, 0]
    print("\n| hidden | gain of leaving the listed out, ± error | worst, best set | chosen for the set left out |")
    print("|---|---|---|---|")
    for share, of_sets in zip(shares, gain, strict=True):
        error = of_sets.std(ddof=1) / np.sqrt(len(of_sets))
        out = sum(np.delete(of_sets, left).mean() > 0 for left in range(len(of_sets)))
        ends = f"{of_sets.min():+.3f}, {of_sets.max():+.3f}"
        times = f"left out {out} times, all fitted {len(of_sets) - out}"
        print(f"| {share:.0%} | {of_sets.mean():+.4f} ± {error:.4f} | {ends} | {times} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES)
    arguments = parser.parse_args()
    splits = {name: Split(*parts) for name, parts in load_sets(arguments.cache).items()}
    splits = {name: split for name, split in splits.items() if holds(split, arguments.draws)}
    columns = [f"{figure}, {way}" for figure in FIGURES for way in TREATMENTS]
    print(f"| set | hidden | {' | '.join(columns)} | rows listed | precision | recall |")
    print("|---" * (5 + len(columns)) + "|")
    table, lost = [], []
    for share in arguments.shares:
        of_share, plains = [], []
        for name, split in splits.items():
            cells, plain_areas, lists = measure(split, share, arguments.draws)
            of_share.append(cells)
            plains.append(plain_areas)
            numbers = " | ".join(f"{value:.3f}" for value in cells.T.ravel())
            print(f"| {name} | {share:.0%} | {numbers} | {' | '.join(f'{value:.0%}' for value in lists)} |", flush=True)
        table.append(of_share)
        lost.append(np.mean(plains, axis=0))
    print(f"\n| mean of {len(splits)} sets, hidden | plain Gaussian AUROC | {' | '.join(columns)} |")
    print("|---" * (2 + len(columns)) + "|")
    means = np.mean(table, axis=1)
    for share, cells, areas in zip(arguments.shares, means, lost, strict=True):
        numbers = " | ".join(f"{value:.4f}" for value in cells.T.ravel())
        print(f"| {share:.0%} | {areas[1]:.4f} | {numbers} |")
    print_choice(arguments.shares, np.array(table))


main()
