"""AUROC that a cap on the references of MeanShiftEnhancer costs, on the sets of shared/data.

Run: python benchmarks/landmarks.py CACHE
Inductive, on whole test sets: standardise, follow the frozen path, Gaussian of the shifted normals.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from embeddings import load_sets
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from msde import GaussianDensity, MeanShiftEnhancer

SHARES = (1.0, 0.5, 0.25, 0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path)
    sets = load_sets(parser.parse_args().cache)
    print("set                      normals  " + "  ".join(f"{share:5.0%}" for share in SHARES))
    table = []
    for name, (train, normal, abnormal) in sets.items():
        rows, label = np.vstack([normal.rows, abnormal.rows]), np.repeat([0, 1], [len(normal.rows), len(abnormal.rows)])
        aurocs = []
        for share in SHARES:
            enhancer = MeanShiftEnhancer(max_references=max(1, round(share * len(train.rows))))
            model = make_pipeline(StandardScaler(), enhancer, GaussianDensity()).fit(train.rows)
            aurocs.append(roc_auc_score(label, -model.score_samples(rows)))
        table.append(aurocs)
        print(f"{name:24s} {len(train.rows):7d}  " + "  ".join(f"{auroc:.3f}" for auroc in aurocs))
    print(f"{'mean':32s}  " + "  ".join(f"{auroc:.3f}" for auroc in np.mean(table, axis=0)))


main()
