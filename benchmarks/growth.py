"""How time and memory of MeanShiftEnhancer grow with the number of rows.

Run: python benchmarks/growth.py [--largest 1000000] [--folder FOLDER] [--references 1000] [--faiss]
The rows are drawn from 50 clusters of 30 dimensions with noise in all 512, float32, and read from a memory-mapped file.
Every size runs in its own process. Processor time adds up all threads; unlike wall time it bears other work on the
machine. "peak" is the largest resident memory up to the end of the fit, less what the
interpreter and its imports took before it, as a multiple of the file; the pages of the file that were read count as
resident. "recall" is the share of the true 50 nearest neighbours of 500 rows that the index finds, among the rows as
given and, second, among the rows after their last iteration. With --faiss, FAISS's IVFFlat (4 sqrt(n) lists, probes
doubled until its recall is at least ours) searches the same rows with the same number of threads.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from msde import MeanShiftEnhancer
from msde.method.arrays import evenly_spaced
from msde.method.neighbors import build_index
from msde.method.neighbors.exact import ExactIndex
from msde.method.neighbors.index import NeighborIndex
from msde.method.neighbors.sketch import recall

SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
FEATURES, CLUSTERS, DIMENSIONS, NOISE, NEIGHBORS = 512, 50, 30, 0.05, 50
TRANSFORMED = 1000


def draw(n: int, seed: int) -> np.ndarray:
    fixed, rng = np.random.default_rng(0), np.random.default_rng([1, seed])
    basis = np.linalg.qr(fixed.normal(size=(FEATURES, DIMENSIONS)))[0].T.astype(np.float32)
    centers = 2 * fixed.normal(size=(CLUSTERS, DIMENSIONS)).astype(np.float32)
    inner = centers[rng.integers(CLUSTERS, size=n)] + rng.standard_normal((n, DIMENSIONS), dtype=np.float32)
    return inner @ basis + np.float32(NOISE) * rng.standard_normal((n, FEATURES), dtype=np.float32)


def write(path: Path, n: int) -> None:
    rows = np.lib.format.open_memmap(path, "w+", np.float32, (n, FEATURES))
    for seed, start in enumerate(range(0, n, 10_000)):
        rows[start : start + 10_000] = draw(min(10_000, n - start), seed)


def resident() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def found_share(index: NeighborIndex) -> float:
    queries = index.rows[evenly_spaced(len(index.rows), 517)[8:-8]]  # not the rows on which the index tuned itself
    truth = ExactIndex.build(index.rows).query(queries, NEIGHBORS)
    return recall(truth, index.query(queries, NEIGHBORS))


def measure(path: Path, references: int) -> dict[str, float]:
    MeanShiftEnhancer().fit(draw(100, 0))  # imports what is imported at first use
    before = resident()
    rows = np.load(path, mmap_mode="r")
    start, start_processor = time.perf_counter(), time.process_time()
    enhancer = MeanShiftEnhancer(max_references=references)
    shifted = enhancer.fit_transform(rows)
    fit = time.perf_counter() - start
    fit_processor = time.process_time() - start_processor
    peak = resident()
    new = draw(2 * TRANSFORMED, 10**6)
    enhancer.transform(new[:TRANSFORMED])
    start, start_processor = time.perf_counter(), time.process_time()
    enhancer.transform(new[TRANSFORMED:])
    transform, transform_processor = time.perf_counter() - start, time.process_time() - start_processor
    index = build_index(np.asarray(rows), NEIGHBORS)
    return {
        "rows": len(rows),
        "iterations": enhancer.n_iter_,
        "fit": fit,
        "fit_processor": fit_processor,
        "transform": transform,
        "transform_processor": transform_processor,
        "peak": (peak - before) / rows.nbytes,
        "megabytes": peak / 2**20,
        "recall": found_share(index),
        "recall_shifted": found_share(index.rebuilt(shifted)),
    }


def against_faiss(path: Path) -> str:
    import faiss

    rows = np.asarray(np.load(path, mmap_mode="r"))
    start = time.perf_counter()
    index = build_index(rows, NEIGHBORS)
    built = time.perf_counter() - start
    index.query(rows, NEIGHBORS)
    ours = time.perf_counter() - start
    goal = found_share(index)
    queries = evenly_spaced(len(rows), 517)[8:-8]
    truth = ExactIndex.build(rows).query(rows[queries], NEIGHBORS)
    n_lists = int(4 * len(rows) ** 0.5)
    start = time.perf_counter()
    lists = faiss.index_factory(FEATURES, f"IVF{n_lists},Flat")
    lists.train(rows[evenly_spaced(len(rows), 40 * n_lists)])
    lists.add(rows)
    faiss_built = time.perf_counter() - start
    for lists.nprobe in (2**power for power in range(12)):
        share = recall(truth, lists.search(rows[queries], NEIGHBORS)[1])
        if share >= goal or lists.nprobe >= n_lists:
            break
    start = time.perf_counter()
    lists.search(rows, NEIGHBORS)
    searched = time.perf_counter() - start
    return (
        f"  all neighbours: ours {ours:.1f} s ({built:.1f} s of it to build, recall {goal:.3f}), "
        f"FAISS {faiss_built + searched:.1f} s ({faiss_built:.1f} s to build, recall {share:.3f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--largest", type=int, default=SIZES[-1])
    parser.add_argument("--folder", type=Path, help="where the rows are written; by default a temporary folder")
    parser.add_argument("--references", type=int, default=1000, help="positions that the model keeps of each iteration")
    parser.add_argument("--faiss", action="store_true", help="compare with FAISS, which `pip install faiss-cpu` brings")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.references)))
        return
    print("    rows  iterations    fit s  processor s  ms/row of transform  of processor  peak/input  peak MB  recall")
    runs = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for n in (size for size in SIZES if size <= arguments.largest):
            path = Path(folder) / f"{n}.npy"
            write(path, n)
            run = subprocess.run(
                [sys.executable, __file__, "--measure", path, "--references", str(arguments.references)],
                capture_output=True,
                text=True,
            )
            if run.returncode:
                sys.exit(run.stderr or f"the process for {n} rows ended with {run.returncode}")
            found = json.loads(run.stdout)
            print(
                f"{n:8d}  {found['iterations']:10d}  {found['fit']:7.1f}  {found['fit_processor']:11.1f}  "
                f"{found['transform']:19.2f}  {found['transform_processor']:12.2f}  {found['peak']:10.2f}  "
                f"{found['megabytes']:7.0f}  {found['recall']:.3f} {found['recall_shifted']:.3f}",
                flush=True,
            )
            runs.append(found)
            if arguments.faiss:
                print(against_faiss(path), flush=True)
            path.unlink()
    if len(runs) > 1:
        sizes = [run["rows"] for run in runs]
        wall, processor = (
            np.polyfit(np.log(sizes), np.log([run[clock] for run in runs]), 1)[0] for clock in ("fit", "fit_processor")
        )
        print(
            f"growth exponent of the fit from {sizes[0]} to {sizes[-1]} rows: {wall:.2f} (processor: {processor:.2f})"
        )


main()
