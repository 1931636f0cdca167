"""How near training normals come to each other and to those held out with other groups, as a Markdown table.

Run: python benchmarks/nearness.py CACHE_FOLDER

Medians of the cosine to the nearest other row; "tenths" are runs of neighbours as `msde fit` holds them out where no
patient is known, "patients" those of benchmarks/shared.toml. `msde fit` warns where the first two are more than
`msde.method.siblings.CLEAR` apart.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from embeddings import PLANS, load_sets
from table import print_header

from msde.method.groups import UNKNOWN, completed
from msde.method.siblings import nearness
from msde.method.standardizer import CompressingStandardizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    print_header("set", ("normals", "patients", "all", "other tenths", "other patients", "warns"))
    for name, (train, _, _) in load_sets(parser.parse_args().cache).items():
        rows = CompressingStandardizer.fit(train.rows).apply(train.rows)
        patients = np.unique(train.patients, return_inverse=True)[1]
        by_place = nearness(rows, completed(np.full(len(rows), UNKNOWN)))
        known = PLANS[name].patient is not None
        cells = (
            name,
            str(len(rows)),
            str(patients.max() + 1) if known else "unknown",
            f"{by_place.all_rows:.3f}",
            f"{by_place.other_groups:.3f}",
            f"{nearness(rows, patients).other_groups:.3f}" if known else "–",
            "yes" if by_place.tells else "no",
        )
        print(f"| {' | '.join(cells)} |", flush=True)


main()
