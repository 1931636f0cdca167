"""Which measure finds abnormal images among the training normals, as a Markdown table.

Run: python benchmarks/hidden_abnormals.py CACHE_FOLDER [--draws 3]

Per set, share and draw, abnormal test images hide among the training normals. Cells are means over sets and draws:
AUROC of the hidden rows against the others, by how much each stands out; of the 5 % of rows that stand out most, the
share that was hidden, and the share of the hidden that is among them.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from embeddings import load_sets

from msde.method.frozen_shift import FrozenShift
from msde.method.metrics import auroc
from msde.method.outliers import outlyingness
from msde.method.standardizer import CompressingStandardizer

SHARES = (0.02, 0.05, 0.10)
LISTED = 0.05
Rows = np.ndarray


def displacement(normals: Rows) -> Rows:
    return FrozenShift.fit(normals)[0].displacement(normals)


MEASURES: dict[str, Callable[[Rows], np.ndarray]] = {
    "doubt: distance from the Gaussian of the others (the list's)": outlyingness,
    "the same of displacements: moves unlike the others": lambda normals: outlyingness(displacement(normals)),
    "length of the displacement: moves far": lambda normals: np.linalg.norm(displacement(normals), axis=1),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--draws", type=int, default=3)
    arguments = parser.parse_args()
    sets = [(parts[0].rows, parts[2].rows) for parts in load_sets(arguments.cache).values()]
    print("| hidden | measure | AUROC | hidden among the listed | listed among the hidden |\n|---|---|---|---|---|")
    for share in SHARES:
        figures: dict[str, list[list[float]]] = {name: [] for name in MEASURES}
        for train, abnormal in sets:
            n_hidden = max(1, round(share * len(train) / (1 - share)))
            for draw in range(arguments.draws):
                hidden = np.random.default_rng(draw).permutation(abnormal)[:n_hidden]
                rows = np.vstack([train, hidden])
                normals = CompressingStandardizer.fit(rows).apply(rows)
                for name, measure in MEASURES.items():
                    values = measure(normals)
                    listed = np.argsort(-values)[: max(1, round(LISTED * len(values)))]
                    found = np.count_nonzero(listed >= len(train))
                    area = auroc(values[: len(train)], values[len(train) :])
                    figures[name].append([area, found / len(listed), found / n_hidden])
        for name, cells in figures.items():
            area, precision, recall = np.mean(cells, axis=0)
            print(f"| {share:.0%} | {name} | {area:.3f} | {precision:.0%} | {recall:.0%} |", flush=True)


main()
