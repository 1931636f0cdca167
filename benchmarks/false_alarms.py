"""False-alarm rates of new normals over what is asked, as Markdown tables.

Run: python benchmarks/false_alarms.py CACHE_FOLDER [--short] [--only recombined|real|near-isotropic] [--draws N]

A cell is the share of new normals that is flagged, over floor(alpha (n + 1)) / (n + 1), what an exact calibration on n
images, or volumes, flags on average; with its standard error over sets and draws. All sixteen sets, pooled.

"Recombined" normals are made of real embeddings: a patient is the mean of two random rows of a set (of the deviations
from the set's mean, at the same variance), an image another such mean, and the two are added so that images of one
patient correlate by rho. So any number of independent patients can be drawn, and new ones are like those of the fit.
Rows are shuffled, patients are given. "Real" normals are all of a set in random order: some are fitted, the others
scored, so they are exchangeable, whatever their patients. "Near-isotropic" rows are 40 strong axes in 1,000
dimensions of equal noise, where held-out distances depend most on how many normals were fitted. In adaptive mode the
pool has as many rows as there are normals, at most 200, one in five abnormal. --short takes every fourth set and a
third of the conditions.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# The matrices here are small: threads would wait for each other. NumPy reads this as it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from embeddings import load_sets

from msde import MSDEDetector
from msde.method.calibration import Calibration
from msde.method.volume_score import volume_score

ALPHAS = (0.01, 0.05, 0.10)
NEW_ROWS = 240
ROWS_A_CONDITION = 16 * 1000  # of all sets and draws together: small fits are drawn more often
MOST_POOLED, ABNORMAL_SHARE = 200, 0.2
FEWEST_SCORED = 50
N_SETS = 16


@dataclass(frozen=True)
class Condition:
    """How many patients there are, how many images each has, and how alike these are."""

    patients: int
    size: int = 1
    rho: float = 0.0
    dim: int = 1488
    mode: str = "inductive"

    @property
    def n(self) -> int:
        return self.patients * self.size

    def __str__(self) -> str:
        alike = f", rho {self.rho:g}" if self.size > 1 else ""
        return f"{self.patients} x {self.size}{alike}, d {self.dim}, {self.mode}"


CONDITIONS = [
    Condition(20),
    Condition(58),
    Condition(150),
    Condition(300),
    Condition(770),
    Condition(58, dim=496),
    Condition(300, dim=496),
    Condition(770, dim=496),
    Condition(10, 30, 0.4),
    Condition(10, 30, 0.7),
    Condition(38, 8, 0.4),
    Condition(60, 5, 0.4),
    Condition(60, 5, 0.9),
    Condition(150, 2, 0.2),
    Condition(150, 2, 0.5),
    Condition(25, 30, 0.4),
    Condition(60, 5, 0.4, 496),
    Condition(25, 30, 0.4, 496),
    Condition(150, mode="adaptive"),
    Condition(60, 5, 0.4, mode="adaptive"),
]


def recombined(rng: np.random.Generator, rows: np.ndarray, condition: Condition, patients: int) -> np.ndarray:
    """Draw the images of so many patients, patient by patient."""
    centre = rows.mean(axis=0)

    def mixed(count: int) -> np.ndarray:
        one, other = rows[rng.integers(len(rows), size=(2, count))] - centre
        return (one + other) / np.sqrt(2)

    whose = np.repeat(np.arange(patients), condition.size)
    drawn = centre + np.sqrt(condition.rho) * mixed(patients)[whose]
    return (drawn + np.sqrt(1 - condition.rho) * mixed(len(whose))).astype(np.float32)


def measured(held_out: np.ndarray, groups: np.ndarray | None, new: np.ndarray) -> list[float]:
    """Return the share of new scores flagged at each alpha over what is asked; NaN where that is none."""
    n = len(held_out)
    ideal = [int(alpha * (n + 1) + 1e-9) / (n + 1) for alpha in ALPHAS]
    flagged = [float(Calibration.of(held_out, alpha, "", groups).flagged(new).mean()) for alpha in ALPHAS]
    return [share / asked if asked else np.nan for share, asked in zip(flagged, ideal, strict=True)]


def one_draw(rng: np.random.Generator, normals: np.ndarray, abnormal: np.ndarray, condition: Condition) -> list[float]:
    """Fit and score once; ratios of images, then of patients as volumes."""
    groups = np.repeat(np.arange(condition.patients), condition.size)
    shuffled = rng.permutation(condition.n)
    rows, groups = recombined(rng, normals, condition, condition.patients)[shuffled], groups[shuffled]
    n_new = -(-NEW_ROWS // condition.size)
    new = recombined(rng, normals, condition, n_new)
    pool = None
    if condition.mode == "adaptive":
        count = min(MOST_POOLED, condition.n)
        theirs = abnormal[rng.integers(len(abnormal), size=round(ABNORMAL_SHARE * count))]
        alike = recombined(rng, normals, condition, -(-(count - len(theirs)) // condition.size))
        pool = np.vstack([alike, theirs]).astype(np.float32)
    detector = MSDEDetector(condition.mode).fit(rows, unlabelled=pool, groups=groups)
    held_out, scores = detector.cross_fitted_scores(), detector.anomaly_score(new)
    images = measured(held_out, groups if condition.size > 1 else None, scores)
    if condition.size == 1:
        return [*images, *[np.nan] * len(ALPHAS)]
    volumes = np.array([volume_score(held_out[groups == patient]) for patient in range(condition.patients)])
    of_new = np.array([volume_score(part) for part in scores.reshape(n_new, condition.size)])
    return [*images, *measured(volumes, None, of_new)]


def real_draw(rng: np.random.Generator, rows: np.ndarray, n: int) -> list[float]:
    order = rng.permutation(len(rows))
    detector = MSDEDetector().fit(rows[order[:n]], groups=np.arange(n))
    return measured(detector.cross_fitted_scores(), None, detector.anomaly_score(rows[order[n:]]))


def near_isotropic() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(1000, 40)) @ rng.normal(size=(40, 1000)) + 2 * rng.normal(size=(1000, 1000))


def line(name: str, ratios: list[list[float]]) -> str:
    found = np.array(ratios)
    cells = []
    for column in found.T:
        known = column[~np.isnan(column)]
        error = known.std() / np.sqrt(max(len(known), 1)) if len(known) else np.nan
        cells.append(f"{known.mean():.2f} ± {error:.2f}" if len(known) else "–")
    return f"| {name} | {len(found)} | " + " | ".join(cells) + " |"


def table(kind: str, columns: list[str]) -> None:
    print(f"\n| {kind} | draws | " + " | ".join(columns) + " |\n" + "|---" * (2 + len(columns)) + "|", flush=True)


def seeds(n: int, n_sets: int, draws: int | None) -> Iterator[int]:
    yield from range(draws or max(1, ROWS_A_CONDITION // (n * n_sets)))


Pairs = list[tuple[np.ndarray, np.ndarray]]  # of each set all its normals, and abnormal images


def print_recombined(normals: Pairs, conditions: list[Condition], at: list[str], draws: int | None) -> None:
    table("recombined normals", [f"images, {each}" for each in at] + [f"volumes, {each}" for each in at])
    for condition in conditions:
        ratios = []
        for number, pair in enumerate(normals):
            rows, abnormal = (part[:, : condition.dim] for part in pair)
            rngs = [np.random.default_rng((seed, number)) for seed in seeds(condition.n, N_SETS, draws)]
            ratios += [one_draw(rng, rows, abnormal, condition) for rng in rngs]
        print(line(str(condition), ratios), flush=True)


def print_real(normals: Pairs, at: list[str], draws: int | None) -> None:
    table("real normals", at)
    for n in (58, 150, 300):
        fitted = [rows for rows, _ in normals if len(rows) >= n + FEWEST_SCORED]
        ratios = [
            real_draw(np.random.default_rng(seed), rows, n) for rows in fitted for seed in seeds(n, N_SETS, draws)
        ]
        print(line(f"{n}", ratios), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--short", action="store_true", help="every fourth set, a third of the conditions")
    parser.add_argument("--draws", type=int, help="fits of each set and condition; by default more of small ones")
    parser.add_argument("--only", choices=("recombined", "real", "near-isotropic"), help="one of the tables")
    arguments = parser.parse_args()
    sets = list(load_sets(arguments.cache).values())
    normals = [(np.vstack([train.rows, normal.rows]), abnormal.rows) for train, normal, abnormal in sets]
    conditions = CONDITIONS
    wanted = (arguments.only,) if arguments.only else ("recombined", "real", "near-isotropic")
    if arguments.short:
        normals, conditions = normals[::4], CONDITIONS[::3]
    at = [f"{alpha:.2f}" for alpha in ALPHAS]
    if "recombined" in wanted:
        print_recombined(normals, conditions, at, arguments.draws)
    if "real" in wanted:
        print_real(normals, at, arguments.draws)
    if "near-isotropic" in wanted:
        table("near-isotropic", at)
        for n in (150, 300):
            rngs = [np.random.default_rng(seed) for seed in range(8)]
            print(line(f"{n}", [real_draw(rng, near_isotropic(), n) for rng in rngs]), flush=True)


main()
