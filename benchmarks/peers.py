"""MSDE beside PyOD's kNN and a plain Ledoit-Wolf Gaussian, on the same embeddings of the sets in one run.

    python benchmarks/peers.py CACHE

CACHE is the folder where the benchmarks keep embeddings. Prints the mean AUROC over the sets, and seconds of processors
to fit to all of a set's normals and to score all of its test images, added up over the sets. PyOD needs its extra.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from embeddings import load_sets
from pyod.models.knn import KNN
from table import print_header

from msde import MSDEDetector
from msde.method.gaussian import fit_ledoit_wolf
from msde.method.metrics import auroc
from msde.method.standardizer import Standardizer

Score = Callable[[np.ndarray], np.ndarray]


def gaussian(rows: np.ndarray) -> Score:
    standardizer = Standardizer.fit(rows)
    fitted = fit_ledoit_wolf(standardizer.apply(rows))
    return lambda others: fitted.mahalanobis(standardizer.apply(others))


PEERS: dict[str, Callable[[np.ndarray], Score]] = {
    "MSDE, inductive": lambda rows: MSDEDetector().fit(rows).anomaly_score,
    "PyOD kNN, k = 5": lambda rows: KNN().fit(rows).decision_function,
    "standardised, Ledoit-Wolf Gaussian": gaussian,
}


def main() -> None:
    sets = load_sets(Path(sys.argv[1]))
    print_header("detector", ("mean AUROC", "s to fit", "s to score"))
    for name, fit in PEERS.items():
        aurocs, fitting, scoring = [], 0.0, 0.0
        for train, normal, abnormal in sets.values():
            start = time.process_time()
            score = fit(train.rows)
            fitted = time.process_time()
            aurocs.append(auroc(score(normal.rows), score(abnormal.rows)))
            fitting, scoring = fitting + fitted - start, scoring + time.process_time() - fitted
        print(f"| {name} | {np.mean(aurocs):.4f} | {fitting:.2f} | {scoring:.2f} |", flush=True)


if __name__ == "__main__":
    main()
