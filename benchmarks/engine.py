"""Time of the transductive and inductive modes against a plain NumPy version and, if given, the official scripts.

Run: python benchmarks/engine.py [--official CHECKOUT] [--normals 4000] [--scored 2000] [--features 512]
All run on the same arrays in one process, in turn. The official scripts need umap-learn and pynndescent.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from msde import MeanShiftEnhancer, MSDEDetector
from msde.method.density_weights import density_weights
from msde.method.standardizer import Standardizer


def timed(job: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    result = job()
    return time.perf_counter() - start, result


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


def official(checkout: Path) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    # Under another name, for the checkout's package is called msde too.
    spec = importlib.util.spec_from_file_location("official_msde", checkout / "msde" / "msde.py")
    assert spec is not None and spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def run(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        return module.MSDE(seed=42).fit(train).predict_score(test)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--official", type=Path)
    parser.add_argument("--normals", type=int, default=4000)
    parser.add_argument("--scored", type=int, default=2000)
    parser.add_argument("--features", type=int, default=512)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(64, arguments.features))
    noise = 0.3
    draw = lambda n: rng.normal(size=(n, 64)) @ mixing / 8 + noise * rng.normal(size=(n, arguments.features))  # noqa: E731
    train, test = draw(arguments.normals), draw(arguments.scored)
    label = np.arange(arguments.scored) % 2
    test[label == 1] += 0.12 * rng.normal(size=arguments.features)
    standardizer = Standardizer.fit(train)
    train, test = (standardizer.apply(x).astype(np.float32) for x in (train, test))
    contenders = {"ours": ours, "plain NumPy": plain}
    if arguments.official:
        contenders["official scripts"] = official(arguments.official)
    print(f"transductive, {len(train)} normals + {len(test)} scored, {arguments.features} features")
    seconds = {}
    for name, run in contenders.items():
        run(train[:200], test[:100])  # compiles what compiles at first use
        seconds[name], scores = timed(lambda run=run: run(train, test))
        print(f"  {name}: {seconds[name]:.2f} s, AUROC {roc_auc_score(label, scores):.4f}", flush=True)
    for name in list(contenders)[1:]:
        print(f"  {name} / ours: {seconds[name] / seconds['ours']:.1f}")
    scorer = MSDEDetector().fit(train).scorer_
    elapsed, _ = timed(lambda: scorer.score(test))
    print(f"inductive: {len(test) / elapsed:.0f} embeddings/s in one batch")
    singles = [timed(lambda row=row: scorer.score(row[None]))[0] for row in test[:200]]
    print(f"inductive, one embedding: median {1000 * np.median(singles):.2f} ms")


main()
