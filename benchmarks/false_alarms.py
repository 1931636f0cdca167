"""False-alarm rate of the default on new normals like those of the fit, as a Markdown table.

Run: python benchmarks/false_alarms.py CACHE_FOLDER [--draws 5]

Per set and draw, n of all its normals in random order are fitted, the others are scored: so they are exchangeable,
whatever their patients. "Ideal" is floor(alpha (n + 1)) / (n + 1), what an exact calibration flags on average. The last
rows are of simulated normals, 40 strong axes in 1,000 dimensions of equal noise, where held-out distances depend most
on how many normals were fitted.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

# The matrices here are small: threads would wait for each other. NumPy reads this as it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from embeddings import load_sets

from msde import MSDEDetector
from msde.method.calibration import Calibration

COUNTS = (150, 300)
ALPHAS = (0.05, 0.10)
FEWEST_SCORED = 50
SHIFTS = {"default": {}, "no shift": {"shift": None}}


def rates(rows: np.ndarray, n: int, draws: int, **settings: object) -> np.ndarray:
    """Return the mean share of new normals that is flagged at each alpha."""
    found = []
    for draw in range(draws):
        order = np.random.default_rng(draw).permutation(len(rows))
        detector = MSDEDetector(**settings).fit(rows[order[:n]])
        held_out, new = detector.calibration_.scores, detector.anomaly_score(rows[order[n:]])
        found.append([Calibration(held_out, alpha, "").flagged(new).mean() for alpha in ALPHAS])
    return np.mean(found, axis=0)


def simulated() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(1000, 40)) @ rng.normal(size=(40, 1000)) + 2 * rng.normal(size=(1000, 1000))


def print_rates(kind: str, sets: list[np.ndarray], n: int, draws: int) -> None:
    ideal = [int(alpha * (n + 1) + 1e-9) / (n + 1) for alpha in ALPHAS]
    for name, settings in SHIFTS.items():
        flagged = np.mean([rates(rows, n, draws, **settings) for rows in sets], axis=0)
        cells = (f"{f:.3f}, {i:.3f}, {f / i:.2f}" for f, i in zip(flagged, ideal, strict=True))
        print(f"| {n} {kind}, {name} | {len(sets)} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--draws", type=int, default=5)
    arguments = parser.parse_args()
    sets = {
        name: np.vstack([train.rows, normal.rows]) for name, (train, normal, _) in load_sets(arguments.cache).items()
    }
    print("| normals, score | sets | " + " | ".join(f"FAR at {a:.2f}, ideal, ratio" for a in ALPHAS) + " |")
    print("|---" * (2 + len(ALPHAS)) + "|")
    for n in COUNTS:
        print_rates("normals", [rows for rows in sets.values() if len(rows) >= n + FEWEST_SCORED], n, arguments.draws)
    for n in COUNTS:
        print_rates("simulated", [simulated()], n, arguments.draws)


main()
