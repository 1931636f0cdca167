"""What the shift of the default costs: AUROC of its landmarks, size of the model, time of an image and of the fit.

Run: python benchmarks/shift_cost.py CACHE_FOLDER [--before SOURCE_FOLDER]

Sizes and times are of random rows of 1,488 numbers; only their number matters. Times are the best of several runs, with
shift and without in turn. --before times the fit with cross-fitting by another version's source too, and prints the
ratio. Memory is the highest that cross-fitting allocates, in sizes of the rows (float32).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from embeddings import load_sets

from msde import MSDEDetector
from msde.benchmark.draws import Subset
from msde.method.frozen_shift import FrozenShift
from msde.method.gaussian import fit_ledoit_wolf
from msde.method.metrics import auroc
from msde.method.scorers import InductiveScorer
from msde.method.standardizer import CompressingStandardizer
from msde.storage.records import take_apart

SHARES = (1.0, 0.5, 0.25, 0.1)
COUNTS = (309, 20_000)
CROSS_FITTED = (309, 5000)
DIM = 1488
IMAGES = 300
FITS = 5


def with_landmarks(parts: list[Subset], share: float) -> float:
    train, *test = (part.rows for part in parts)
    standardizer = CompressingStandardizer.fit(train)
    most = max(2, round(share * len(train)))
    shift, displacement, axes = FrozenShift.fit(standardizer.apply(train), max_landmarks=most)
    scorer = InductiveScorer(standardizer, fit_ledoit_wolf(displacement, axes), shift)
    return auroc(*(scorer.score(rows) for rows in test))


def megabytes(scorer: InductiveScorer) -> float:
    return sum(array.nbytes for array in take_apart(scorer)[0].values()) / 1e6


def best(jobs: list[Callable[[], object]], times: int) -> list[float]:
    """Time jobs in turn; give the seconds of the best run of each."""
    seconds = np.full(len(jobs), np.inf)
    for _ in range(times):
        for number, job in enumerate(jobs):
            start = time.perf_counter()
            job()
            seconds[number] = min(seconds[number], time.perf_counter() - start)
    return list(seconds)


def random_rows(n: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(64, DIM)).astype(np.float32)
    return rng.normal(size=(n, 64)).astype(np.float32) @ mixing + rng.normal(size=(n, DIM)).astype(np.float32)


def print_cross_fitting(n: int) -> None:
    """Print time and memory of leaving each row out, and the time of the fit before."""
    rows, groups = random_rows(n), np.arange(n)
    seconds = best([lambda: MSDEDetector().fit(rows, groups=groups)], 2)[0]
    detectors = [MSDEDetector().fit(rows, groups=groups) for _ in range(2)]
    held_out = best([lambda: detectors.pop().cross_fitted_scores()], 2)[0]
    detector = MSDEDetector().fit(rows, groups=groups)
    tracemalloc.start()
    detector.cross_fitted_scores()
    most = tracemalloc.get_traced_memory()[1] / rows.nbytes
    tracemalloc.stop()
    print(f"| {n} | {seconds:.2f} | {held_out:.2f} | {most:.1f} |", flush=True)


BEFORE = """
import sys, time
import numpy as np
from msde import MSDEDetector
rows = np.load(sys.argv[1])
times = []
for _ in range(int(sys.argv[2])):
    start = time.perf_counter()
    detector = MSDEDetector().fit(rows)
    detector.cross_fitted_scores()
    times.append(time.perf_counter() - start)
print(min(times))
"""


def print_before(source: Path) -> None:
    """Print how long fit and cross-fitting take, by another version's source and by this one's."""
    rows = random_rows(min(COUNTS))
    with TemporaryDirectory() as folder:
        kept = Path(folder) / "rows.npy"
        np.save(kept, rows)
        environment = {**os.environ, "PYTHONPATH": str(source)}
        command = [sys.executable, "-c", BEFORE, str(kept), str(FITS)]
        before = float(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
    now = best([lambda: MSDEDetector().fit(rows).cross_fitted_scores()], FITS)[0]
    print(f"\nFit with cross-fitting, {len(rows)} rows: {now:.2f} s, before {before:.2f} s, ratio {now / before:.2f}")


def print_costs(n: int, fits: bool) -> None:
    """Print size and times of the default on n random normals, without shift and with it."""
    rows = random_rows(n)
    image = rows[:1] + 1
    detectors = [MSDEDetector(shift=None).fit(rows), MSDEDetector().fit(rows)]
    scorers = [detector.scorer_ for detector in detectors]
    print_line(n, "arrays of the scorer, MB", [megabytes(scorer) for scorer in scorers])
    seconds = best([partial(scorer.score, image) for scorer in scorers], IMAGES)
    print_line(n, "one image, ms", [1e3 * one for one in seconds])
    if fits:
        again = [lambda d=detector: d.fit(rows).cross_fitted_scores() for detector in detectors]
        print_line(n, "fit and cross-fitting, s", best(again, FITS))


def print_line(n: int, what: str, pair: list[float]) -> None:
    without, shifted = pair
    print(f"| {n} | {what} | {without:.2f} | {shifted:.2f} | {shifted - without:+.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--before", type=Path, help="folder with the package msde of another version")
    arguments = parser.parse_args()
    sets = load_sets(arguments.cache)
    print("| normals | | without shift | with shift | more |\n|---|---|---|---|---|")
    for n in COUNTS:
        print_costs(n, fits=n == min(COUNTS))
    print("\n| rows, each left out | fit, s | cross-fitting, s | memory, times the rows |\n|---|---|---|---|")
    for n in CROSS_FITTED:
        print_cross_fitting(n)
    if arguments.before:
        print_before(arguments.before)
    print("\n| landmarks, share of the normals | mean AUROC |\n|---|---|")
    for share in SHARES:
        print(f"| {share:.0%} | {np.mean([with_landmarks(parts, share) for parts in sets.values()]):.4f} |", flush=True)


main()
