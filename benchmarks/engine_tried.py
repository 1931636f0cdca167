"""What else was tried to find the neighbours of each step of the shift, on the rows of benchmarks/engine.py.

Run: python benchmarks/engine_tried.py [--cache CACHE_FOLDER] [--shapes abcd]

For each shape: how many of the distances between two of the 6,000 rows are measured at the first step and at the last;
what share of a step's 50 nearest neighbours is among the first 100, 150 and 200 of the step before, the lowest of all
steps, and 200 of two steps before; what share of them sketches of so many principal axes find at the first and the last
step. Then the times of the processor for a row: to measure it against half of 6,000 others by a product, to bring 200
others together and measure it against them, and to sort 6,000 distances in part.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
from engine import FEATURES, NEIGHBORS, SHAPES, Split, real
from table import print_header

from msde.method.arrays import evenly_spaced
from msde.method.density_weights import density_weights
from msde.method.mean_shift import shift
from msde.method.neighbors.exact import ExactIndex
from msde.method.neighbors.mutual import MutualSearch, Pairs
from msde.method.neighbors.sketch import Sketch, recall
from msde.method.standardizer import Standardizer

FIRST, AXES, CHECKED = (100, 150, 200), (64, 128, 256), 200


def measured(rows: np.ndarray) -> float:
    cells = MutualSearch(rows).cells
    order = np.concatenate(cells)
    pairs = Pairs.of(rows[order], np.zeros(len(rows), rows.dtype), [len(cell) for cell in cells], NEIGHBORS)
    return pairs.n_measured / len(rows) ** 2


def sketched(rows: np.ndarray, n_axes: int) -> float:
    checked = rows[evenly_spaced(len(rows), CHECKED)]
    center = rows.mean(axis=0)
    axes = np.linalg.eigh((rows - center).T @ (rows - center))[1][:, -n_axes:]
    sketch = Sketch(center, np.ascontiguousarray(axes))
    found = ExactIndex.build(sketch.of_references(rows)).query(sketch.of_queries(checked), NEIGHBORS)
    return recall(ExactIndex.build(rows).query(checked, NEIGHBORS), found)


def among(nearest: np.ndarray, earlier: np.ndarray) -> float:
    return float(np.mean([np.isin(row, candidates).mean() for row, candidates in zip(nearest, earlier, strict=True)]))


def microseconds(job: Callable[[], object], n_rows: int) -> float:
    times = []
    for _ in range(5):
        start = time.process_time()
        job()
        times.append(time.process_time() - start)
    return 1e6 * float(np.median(times)) / n_rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--shapes", default="abcd")
    arguments = parser.parse_args()
    shapes: dict[str, Callable[[], Split]] = dict(SHAPES)
    if arguments.cache:
        shapes["d"] = lambda: real(arguments.cache)
    print_header(
        "shape",
        ["measured, first and last", *(f"among first {n}" for n in FIRST), "two steps later"]
        + [f"{n} axes, first and last" for n in AXES],
    )
    for name in (shape for shape in arguments.shapes if shape in shapes):
        train, test, _ = shapes[name]()
        rows = Standardizer.fit(train).apply(np.vstack([train, test])).astype(np.float32)
        steps = shift(rows, density_weights(rows, "published"))[0].positions
        checked = evenly_spaced(len(rows), CHECKED)
        ranked = [ExactIndex.build(step).query_distances(step[checked], FIRST[-1])[1] for step in steps]
        lasting = [min(among(now[:, :NEIGHBORS], before[:, :n]) for before, now in pairwise(ranked)) for n in FIRST]
        later = min(among(now[:, :NEIGHBORS], before) for before, now in zip(ranked, ranked[2:], strict=False))
        ends = [(measured(step), *(sketched(step, n) for n in AXES)) for step in (steps[0], steps[-1])]
        first_and_last = [f"{first:.3f} {last:.3f}" for first, last in zip(*ends, strict=True)]
        cells = [first_and_last[0], *(f"{share:.3f}" for share in (*lasting, later)), *first_and_last[1:]]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(6000, FEATURES)).astype(np.float32)
    half, some = rows[:3000].T.copy(), rng.integers(6000, size=(64, FIRST[-1]))
    distances = rng.normal(size=(200, 6000)).astype(np.float32)
    print(f"\nproduct with half of 6,000 rows: {microseconds(lambda: rows[:2000] @ half, 2000):.0f} us a row")
    print(f"200 rows brought together: {microseconds(lambda: rows[some] @ rows[:64, :, None], 64):.0f} us a row")
    print(f"partial sort of 6,000: {microseconds(lambda: np.argpartition(distances, 49, axis=1), 200):.0f} us a row")


main()
