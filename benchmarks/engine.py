"""Time of the transductive mode against a plain NumPy version and the official scripts, on rows of four shapes.

Run: python benchmarks/engine.py [--official CHECKOUT] [--cache CACHE_FOLDER] [--shapes abcd] [--repeats 5]

Each contender fits 4,000 normals and scores 2,000 rows of 512 numbers, all in one process and in turn. Shapes: (a) 64
strong axes and noise; (b) 20 clusters of 60 dimensions each; (c) noise alike in all directions; (d) embeddings of the
sets of shared/data stacked, 512 of their numbers (with --cache, the folder of the other benchmarks). Times
are medians: of the clock, and of the processor, which adds up all threads and bears other work on the machine better.
"exact" is the plain version's AUROC: its neighbours are exact. Recall is that of our neighbours at each step of the
shift of normals and scored rows, for 300 of them, the lowest of all steps. Operations are the multiplications and
additions of our distances and means; the peak is a product of two matrices of 2,000 x 2,000 on one processor. The
official scripts need umap-learn and pynndescent.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
from embeddings import load_sets
from sklearn.metrics import roc_auc_score
from table import print_header

from msde import MeanShiftEnhancer, MSDEDetector
from msde.method.arrays import evenly_spaced
from msde.method.density_weights import density_weights
from msde.method.mean_shift import shift
from msde.method.neighbors import Search, mutual
from msde.method.neighbors.exact import ExactIndex
from msde.method.neighbors.sketch import recall
from msde.method.standardizer import Standardizer

NORMALS, SCORED, FEATURES, NEIGHBORS = 4000, 2000, 512, 50
CHECKED = 300
CLOCKS = (time.perf_counter, time.process_time)
Contender = Callable[[np.ndarray, np.ndarray], np.ndarray]
Split = tuple[np.ndarray, np.ndarray, np.ndarray]


def few_axes() -> Split:
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(64, FEATURES)) / 8
    rows = rng.normal(size=(NORMALS + SCORED, 64)) @ mixing + 0.3 * rng.normal(size=(NORMALS + SCORED, FEATURES))
    return with_abnormals(rows, 0.12, rng)


def clusters() -> Split:
    rng = np.random.default_rng(0)
    which = rng.integers(20, size=NORMALS + SCORED)
    rows = 0.05 * rng.normal(size=(NORMALS + SCORED, FEATURES))
    for cluster in range(20):
        axes = np.linalg.qr(rng.normal(size=(FEATURES, 60)))[0].T
        members = which == cluster
        rows[members] += (3 * rng.normal(size=60) + rng.normal(size=(members.sum(), 60))) @ axes
    return with_abnormals(rows, 0.12, rng)


def noise() -> Split:
    rng = np.random.default_rng(0)
    return with_abnormals(rng.normal(size=(NORMALS + SCORED, FEATURES)), 0.2, rng)


def with_abnormals(rows: np.ndarray, size: float, rng: np.random.Generator) -> Split:
    """Move every second of the scored rows."""
    train, test = rows[:NORMALS], rows[NORMALS:]
    label = np.arange(SCORED) % 2
    test[label == 1] += size * rng.normal(size=FEATURES)
    return train, test, label


def real(cache: Path) -> Split:
    parts = [np.vstack([sets[part].rows for sets in load_sets(cache).values()]) for part in range(3)]
    rng = np.random.default_rng(0)
    normals, *test = (rng.permutation(part) for part in parts)
    # Normals that are left over make up for test images that are missing.
    healthy = np.vstack([test[0], normals[NORMALS:]])[: SCORED // 2]
    ill = test[1][: SCORED - len(healthy)]
    features = evenly_spaced(normals.shape[1], FEATURES)
    rows = normals[:NORMALS, features], np.vstack([healthy, ill])[:, features]
    return *rows, np.repeat([0, 1], [len(healthy), len(ill)])


SHAPES: dict[str, Callable[[], Split]] = {"a": few_axes, "b": clusters, "c": noise}


def plain_shift(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The published shift with exact neighbours, as one would first write it."""
    for _ in range(8):
        squared = (rows**2).sum(1)
        distances = squared[:, None] + squared - 2 * rows @ rows.T
        nearest = np.argpartition(distances, 49, axis=1)[:, :50]
        moved = np.empty_like(rows)
        change = np.empty(len(rows))
        for i, neighbors in enumerate(nearest):
            pull = weights[neighbors]
            towards = pull @ rows[neighbors] / max(pull.sum(), 1e-6) - rows[i]
            change[i] = np.linalg.norm(towards)
            moved[i] = rows[i] + 0.33 * towards
        rows = moved
        if change.mean() < 0.01:
            break
    return rows


def plain(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    union = np.vstack([train, test])
    fitted = plain_shift(train, density_weights(train, "published").astype(np.float32))
    shifted = plain_shift(union, density_weights(union, "published").astype(np.float32))[len(train) :]
    mean = fitted.mean(0)
    _, _, axes = np.linalg.svd(fitted - mean, full_matrices=False)
    axes = axes[:256]
    covariance = np.cov(((fitted - mean) @ axes.T).T) + 1e-4 * np.eye(len(axes))
    offsets = (shifted - mean) @ axes.T
    return np.sqrt(np.einsum("ij,jk,ik->i", offsets, np.linalg.inv(covariance), offsets))


def ours(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    detector = MSDEDetector("transductive", enhancer=MeanShiftEnhancer(weighting="published"))
    return detector.fit(train).anomaly_score(test)


def official(checkout: Path) -> Contender:
    # Under another name, for the checkout's package is called msde too.
    spec = importlib.util.spec_from_file_location("official_msde", checkout / "msde" / "msde.py")
    assert spec is not None and spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def run(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        return module.MSDE(seed=42).fit(train).predict_score(test)

    return run


def timed(job: Callable[[], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    start = np.array([clock() for clock in CLOCKS])
    result = job()
    return np.array([clock() for clock in CLOCKS]) - start, result


def lowest_recall(union: np.ndarray) -> float:
    trajectory, _, _ = shift(union, density_weights(union, "published"), n_neighbors=NEIGHBORS)
    search = Search(union, NEIGHBORS)
    checked = evenly_spaced(len(union), CHECKED + 16)[8:-8]  # not the rows on which the search checks itself
    return min(
        recall(ExactIndex.build(rows).query(rows[checked], NEIGHBORS), search.query(rows)[checked])
        for rows in trajectory.positions
    )


def operations(train: np.ndarray, test: np.ndarray) -> float:
    """Count what a fit and a score take for their distances and means."""
    counted = 0.0
    plain_nearest = mutual.Pairs.nearest

    def nearest(pairs: mutual.Pairs) -> np.ndarray:
        nonlocal counted
        counted += 2 * pairs.n_measured * pairs.left.shape[1] + 2 * NEIGHBORS * FEATURES * len(pairs.left)
        return plain_nearest(pairs)

    with patch.object(mutual.Pairs, "nearest", nearest):
        ours(train, test)
    return counted


def peak() -> float:
    """Measure the operations of one second of a processor in a large product of float32 matrices."""
    first, second = np.random.default_rng(0).normal(size=(2, 2000, 2000)).astype(np.float32)
    return 2 * 2000.0**3 / min(timed(lambda: first @ second)[0][1] for _ in range(5))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--official", type=Path)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--shapes", default="abcd")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    contenders: dict[str, Contender] = {"ours": ours, "plain NumPy": plain}
    if arguments.official:
        contenders["official scripts"] = official(arguments.official)
    shapes: dict[str, Callable[[], Split]] = dict(SHAPES)
    if arguments.cache:
        shapes["d"] = lambda: real(arguments.cache)
    print(
        f"{NORMALS} normals + {SCORED} scored, {FEATURES} features; peak of a processor: {peak() / 1e9:.0f} Gflop/s\n"
    )
    print_header(
        "shape", ["contender", "s", "processor s", "times ours", "by processor", "AUROC", "recall", "of the peak"]
    )
    for name in (shape for shape in arguments.shapes if shape in shapes):
        train, test, label = shapes[name]()
        standardizer = Standardizer.fit(train)
        train, test = (standardizer.apply(part).astype(np.float32) for part in (train, test))
        spent: dict[str, list[np.ndarray]] = {contender: [] for contender in contenders}
        aurocs = {}
        for run in contenders.values():
            run(train[:200], test[:100])  # compiles what compiles at first use
        for _ in range(arguments.repeats):
            for contender, run in contenders.items():
                seconds, scores = timed(lambda run=run, train=train, test=test: run(train, test))
                spent[contender].append(seconds)
                aurocs[contender] = roc_auc_score(label, scores)
        medians = {contender: np.median(seconds, axis=0) for contender, seconds in spent.items()}
        for contender, (clock, processor) in medians.items():
            times = " | ".join(f"{ratio:.2f}" for ratio in medians[contender] / medians["ours"])
            line = f"| {name} | {contender} | {clock:.2f} | {processor:.2f} | {times} | {aurocs[contender]:.4f} |"
            if contender == "ours":
                share = operations(train, test) / processor / peak()
                line += f" {lowest_recall(np.vstack([train, test])):.4f} | {share:.0%} |"
            print(line if contender == "ours" else line + " | |", flush=True)


if __name__ == "__main__":
    main()
