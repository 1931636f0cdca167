"""How images are best held out where nothing but their order is known, chosen without labels on the sixteen sets.

Run: python benchmarks/unknown_groups.py CACHE_FOLDER

The training normals of a set, in the order of their files, are held out in runs of several lengths. A cell is the share
of them, held out by patient, that the threshold of the runs flags, over what is asked (floor(alpha (n + 1)) / (n + 1)),
at .05 and .10: above 1 the runs part patients from themselves, below 1 the order tells more than patients. Where names
tell no patients each image is one. Chosen is the shortest run that flags more than chance explains (at 5 %) on no set,
and again with each set left out.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from embeddings import load_sets
from scipy.stats import binom

from msde import MSDEDetector
from msde.method.calibration import Calibration

RUNS = {"1": 1, "5": 5, "n/20": 0.05, "n/10": 0.1, "n/5": 0.2}
ALPHAS = (0.05, 0.10)
CHANCE = 0.05


def runs(n: int, length: float) -> np.ndarray:
    count = round(1 / length) if length < 1 else -(-n // int(length))
    return np.arange(n) * min(count, n) // n


def compared(held_out: np.ndarray, by_patient: np.ndarray) -> list[tuple[float, bool]]:
    """Return for each alpha the share flagged over that asked, and whether it is more than chance explains."""
    n, cells = len(held_out), []
    for alpha in ALPHAS:
        ideal = int(alpha * (n + 1)) / (n + 1)
        count = int(np.sum(by_patient > Calibration.of(held_out, alpha, "").threshold))
        cells.append((count / n / ideal, bool(binom.sf(count - 1, n, ideal) < CHANCE)))
    return cells


def chosen(excess: np.ndarray) -> str:
    """Choose by whether runs flag too many, (sets, runs)."""
    return next((name for name, any_set in zip(RUNS, excess.any(axis=0), strict=True) if not any_set), "none")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    sets = load_sets(parser.parse_args().cache)
    print("| set | normals | patients | " + " | ".join(f"runs of {name}" for name in RUNS) + " |")
    print("|---" * (3 + len(RUNS)) + "|")
    ratios, excess = [], []
    for name, (train, *_) in sets.items():
        by_patient = MSDEDetector().fit(train.rows, groups=train.patients).cross_fitted_scores()
        n = len(train.rows)
        held_out = [MSDEDetector().fit(train.rows, groups=runs(n, length)) for length in RUNS.values()]
        cells = [compared(detector.cross_fitted_scores(), by_patient) for detector in held_out]
        ratios.append([[ratio for ratio, _ in cell] for cell in cells])
        excess.append([any(more for _, more in cell) for cell in cells])
        shown = (" / ".join(f"{ratio:.2f}{'!' if more else ''}" for ratio, more in cell) for cell in cells)
        print(f"| {name} | {n} | {len(set(train.patients))} | " + " | ".join(shown) + " |", flush=True)
    means = np.mean(ratios, axis=0)
    print("| mean | | | " + " | ".join(" / ".join(f"{ratio:.2f}" for ratio in cell) for cell in means) + " |")
    too_many = np.array(excess)
    without = {chosen(np.delete(too_many, number, axis=0)) for number in range(len(too_many))}
    print(
        f"\nChosen: runs of {chosen(too_many)}; with a set left out: {', '.join(sorted(without))}. ! more than chance"
    )


main()
