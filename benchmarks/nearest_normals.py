"""Which normals are most like an image: those near it, or those near the mode that it is shifted to; by their pixels.

Run: python benchmarks/nearest_normals.py CACHE_FOLDER

Of each set, up to 100 test images and their three nearest normals either way; the figure is the mean correlation of
their grey pixels at 64 px, which no network has seen. The last column tells how many of the three are the same.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from embeddings import PARTS, SHARED, load_sets
from PIL import Image

from msde import MSDEDetector
from msde.images import find_images
from msde.method.neighbors.exact import ExactIndex, evenly_spaced

SHOWN = 3
MOST_IMAGES = 100
SIDE = 64


def pictures(paths: list[Path]) -> np.ndarray:
    """Return grey pixels (n, SIDE * SIDE), each row of mean 0 and length 1."""
    rows = []
    for path in paths:
        with Image.open(path) as image:
            grey = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR), dtype=float).ravel()
        rows.append((grey - grey.mean()) / max(np.linalg.norm(grey - grey.mean()), 1e-9))
    return np.stack(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    print("| set | nearest where they are | nearest where they are shifted to | the same |\n|---|---|---|---|")
    table = []
    for name, parts in load_sets(parser.parse_args().cache).items():
        train, *test = ([Path(str(path)) for path in find_images([SHARED / "data" / name / part])] for part in PARTS)
        rows, paths = np.vstack([part.rows for part in parts[1:]]), [path for of_part in test for path in of_part]
        chosen = evenly_spaced(len(rows), MOST_IMAGES)
        scorer = MSDEDetector().fit(parts[0].rows).scorer_
        normals, images = (scorer.standardizer.apply(of) for of in (parts[0].rows, rows[chosen]))
        pairs = [
            (normals, images),
            tuple(of + scorer.measured(raw) for of, raw in ((normals, parts[0].rows), (images, rows[chosen]))),
        ]
        nearest = [
            ExactIndex.build(np.float32(here)).query_distances(np.float32(there), SHOWN)[1] for here, there in pairs
        ]
        seen, known = pictures([paths[number] for number in chosen]), pictures(train)
        alike = [np.einsum("ij,ikj->ik", seen, known[numbers]).mean() for numbers in nearest]
        same = np.mean([len(np.intersect1d(*both)) for both in zip(*nearest, strict=True)])
        table.append([*alike, same])
        print(f"| {name} | {alike[0]:.3f} | {alike[1]:.3f} | {same:.1f} of {SHOWN} |", flush=True)
    print("| **mean** | {:.3f} | {:.3f} | {:.1f} |".format(*np.mean(table, axis=0)))


main()
