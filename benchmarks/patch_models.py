"""What heat maps cost by patch model and grid: time of the fit and of an image, memory, size in the model.

    python benchmarks/patch_models.py [--channels N] [--normals N]

Made-up tokens that vary along 64 axes, as of a transformer: what is measured depends on their number alone. One thread.
Each fit is made in a process of its own; its peak is beyond what the tokens of the normals take.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

import numpy as np

from msde.backbones.raw_maps import RawMaps
from msde.benchmark.memory import forget_peak, peak_megabytes
from msde.heatmaps.localizer import Localizer
from msde.heatmaps.patch_models import KINDS
from msde.model.normal_maps import LEAST_IMAGES, MOST_BYTES, MOST_IMAGES

GRIDS = (14, 37, 64)
AXES = 64
TIMED = 4


def raw(rng: np.random.Generator, n: int, grid: int, channels: int) -> RawMaps:
    basis = np.random.default_rng(0).normal(size=(AXES, channels)).astype(np.float32)
    maps = rng.normal(size=(n, grid, grid, AXES)).astype(np.float32) @ basis
    maps = np.ascontiguousarray((maps + rng.normal(size=maps.shape)).transpose(0, 3, 1, 2), np.float32)
    return RawMaps(rng.random((n, 3, 224, 224), np.float32), maps, maps)


def measure(kind: str, grid: int, channels: int, most: int) -> None:
    rng = np.random.default_rng(1)
    seen_by = KINDS[kind].seen
    blank = seen_by.of(raw(rng, 1, grid, channels))
    width = blank.packed().shape[1]
    n = int(np.clip(MOST_BYTES // (2 * width), LEAST_IMAGES, min(MOST_IMAGES, most)))
    rows = np.concatenate([seen_by.of(raw(rng, 1, grid, channels)).packed().astype(np.float16) for _ in range(n)])
    forget_peak()
    before = peak_megabytes()
    start = time.perf_counter()
    model = Localizer.fit({"plain": seen_by.unpacked(rows, blank.shapes())}, kinds={"plain": kind})
    fitting = time.perf_counter() - start
    peak = peak_megabytes() - before
    viewed = {"plain": raw(rng, 1, grid, channels)}
    taken = []
    for _ in range(TIMED):
        start = time.perf_counter()
        model.read(viewed)
        taken.append(time.perf_counter() - start)
    size = sum(array.nbytes for part in model.arrays().values() for array in part.values()) / 1e6
    print(
        f"| {kind} | {grid} x {grid} | {n} | {rows.nbytes / 1e6:.0f} | {fitting:.1f} | {peak:.0f} |"
        f" {1000 * min(taken):.1f} | {size:.1f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, default=768)
    parser.add_argument("--normals", type=int, default=100)
    parser.add_argument("--one", nargs=2, metavar=("KIND", "GRID"))
    arguments = parser.parse_args()
    if arguments.one:
        measure(arguments.one[0], int(arguments.one[1]), arguments.channels, arguments.normals)
        return
    print("| patch model | grid | normals | MB kept | s to fit | MB more at its peak | ms an image | MB in the model |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for kind in KINDS:
        for grid in GRIDS:
            command = [sys.executable, __file__, "--one", kind, str(grid)]
            command += ["--channels", str(arguments.channels), "--normals", str(arguments.normals)]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
