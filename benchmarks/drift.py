"""How often drift is found, where there is some and where there is none, as Markdown tables.

Run: python benchmarks/drift.py [--draws 4000]     (half a minute)

Scores of 300 calibrating normals and of what comes in are simulated as normally distributed; drift moves what comes
in until the false-alarm rate at .05 has become another. Within a volume of thirty slices scores are correlated. The
former test was a two-sided Kolmogorov-Smirnov test of single images whose limit had the tenth of abnormal images added.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from table import print_header

from msde.method.drift import ABNORMAL_SHARE, SIGNIFICANCE, measure_drift

N, SLICES = 300, 30
COUNTS = (20, 50, 100, 300)
RATES = (0.05, 0.10, 0.20, 0.30)

Incoming = tuple[np.ndarray, np.ndarray]
Draw = Callable[[np.random.Generator], Incoming]


def images(m: int, rate: float = 0.05, abnormal: float = 0.0) -> Draw:
    """Draw scores of single images, and their groups."""
    move = NormalDist().inv_cdf(rate) - NormalDist().inv_cdf(0.05)
    return lambda rng: (np.where(rng.random(m) < abnormal, 99, rng.normal(move, 1, size=m)), np.arange(m))


def volumes(n: int, within: float) -> Draw:
    """Draw scores of normal volumes."""

    def draw(rng: np.random.Generator) -> Incoming:
        groups = np.repeat(np.arange(n), SLICES)
        own = rng.normal(size=n)[groups]
        return np.sqrt(within) * own + np.sqrt(1 - within) * rng.normal(size=len(groups)), groups

    return draw


def former(calibration: np.ndarray, incoming: np.ndarray) -> bool:
    everywhere = np.concatenate([calibration, incoming])
    shares = [np.searchsorted(np.sort(x), everywhere, side="right") / len(x) for x in (calibration, incoming)]
    n, m = len(calibration), len(incoming)
    chance = np.sqrt(-np.log(SIGNIFICANCE / 2) / 2 * (n + m) / (n * m))
    return bool(np.abs(shares[0] - shares[1]).max() > ABNORMAL_SHARE + chance)


def found(draw: Draw, draws: int) -> list[str]:
    """Return how often the former test and the present one warn."""
    hits = np.zeros((draws, 2))
    for number, rng in enumerate(map(np.random.default_rng, range(draws))):
        calibration = rng.normal(size=N)
        incoming, groups = draw(rng)
        hits[number] = former(calibration, incoming), measure_drift(calibration, incoming, incoming_groups=groups).found
    return [f"{share:.3f}" for share in hits.mean(axis=0)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=4000)
    draws = parser.parse_args().draws
    print_header("false-alarm rate at .05 has become", ["images", "found, former test", "found"])
    for rate in RATES:
        for m in COUNTS if rate == 0.2 else (50,):
            print(f"| {rate:.2f} | {m} | {' | '.join(found(images(m, rate), draws))} |", flush=True)
    print()
    print_header("no drift", ["warned, former test", "warned"])
    print(f"| 50 images, a tenth abnormal | {' | '.join(found(images(50, abnormal=0.1), draws))} |", flush=True)
    for n in (1, 2, 10, 50):
        for within in (0.4, 0.7, 0.9):
            name = f"{n} normal volume{'s' if n > 1 else ''} of {SLICES} slices, correlated by {within}"
            print(f"| {name} | {' | '.join(found(volumes(n, within), max(draws // 4, 200)))} |", flush=True)
    print()
    print_header("images compared", ["a rate of .05 may rise to, expected unseen"])
    for m in COUNTS:
        rate = measure_drift(np.zeros(N), np.zeros(m)).unseen_rate(0.05)
        print(f"| {m} | {rate:.2f} |")


main()
