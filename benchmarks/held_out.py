"""How far held-out scores are from those of a fit without the group, as a Markdown table.

Run: python benchmarks/held_out.py CACHE_FOLDER [--groups 12]

For some patients of each set the default is fitted without them, and scores them; the logarithms of these scores are
compared with those of leaving them out in closed form. "Off" is the mean difference, "scatter" its deviation, and "in
deviations" the mean over the deviation of the logarithms among normals, which is what false-alarm rates depend on. The
closed form has an error because neighbours and density weights are those of all normals, and because means and
deviations of compressed features are taken to first order; "taken back" is what the fit to all normals makes of it.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from embeddings import load_sets

from msde import MSDEDetector
from msde.method.arrays import evenly_spaced
from msde.method.held_out_scores import HeldOut
from msde.method.scorers import InductiveScorer

SHIFTS = ("displacement", None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--groups", type=int, default=12)
    arguments = parser.parse_args()
    columns = ("off", "scatter", "largest", "in deviations", "taken back")
    heads = [f"{column}{'' if shift else ', no shift'}" for shift in SHIFTS for column in columns]
    print("| set | normals | patients | " + " | ".join(heads) + " |\n" + "|---" * (3 + len(heads)) + "|")
    found = []
    for name, (train, *_) in load_sets(arguments.cache).items():
        rows, groups = train.rows, np.unique(train.patients, return_inverse=True)[1]
        n_groups = int(groups.max()) + 1
        chosen = evenly_spaced(n_groups, arguments.groups)
        figures: list[float] = []
        for shift in SHIFTS:
            scorer = MSDEDetector(shift=shift).fit(rows, groups=groups).scorer_
            assert isinstance(scorer, InductiveScorer)  # noqa: S101 - of the inductive mode
            held_out = HeldOut(scorer, rows, groups)
            outs = [groups == group for group in chosen]
            refits = [MSDEDetector(shift=shift).fit(rows[~out]).anomaly_score(rows[out]) for out in outs]
            off = np.concatenate(
                [np.log(held_out.without_own[out] / refit) for out, refit in zip(outs, refits, strict=True)]
            )
            deviation = np.log(held_out.without_own).std()
            back = np.log(held_out.scores / held_out.without_own).mean()
            figures += [off.mean(), off.std(), np.abs(off).max(), off.mean() / deviation, back / deviation]
        found.append(figures)
        cells = " | ".join(f"{figure:+.4f}" for figure in figures)
        print(f"| {name} | {len(rows)} | {n_groups} | {cells} |", flush=True)
    print("| mean | | | " + " | ".join(f"{figure:+.4f}" for figure in np.mean(found, axis=0)) + " |")


main()
