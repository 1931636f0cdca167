"""Rows a second of a Ray cluster on this machine against one process, memory of the driver, rows after random kills.

Run: python benchmarks/cluster.py speed FOLDER [--images 20000] [--repeats 1] [--workers 2 1]
     python benchmarks/cluster.py memory [--rows 10000 100000 1000000]
     python benchmarks/cluster.py kills FOLDER [--runs 10] [--images 400]
     python benchmarks/cluster.py landmarks CACHE [--set NAME]

speed: the images of FOLDER under new names (links) until there are as many as asked for; `msde score` in one process of
two threads, then with --ray local and two workers, then, unless --workers says less, one process of one thread against
one worker. End to end: from the start of the command to its end, the start of Ray included; "at work" leaves the start
out of both.
memory: the driver's peak for manifests of 10,000 to 1,000,000 rows. A fake backbone stands in for the network: workers
list a part's rows and write constant scores, for only the driver is of interest here.
kills: a worker, and in every third run the driver, is killed at a random time; each run is then started again until it
ends, and its rows are compared with the list.
landmarks: AUROC on the sets of shared/data when landmarks decide scale, trust and calibration, and all normals the
Gaussian, against the ordinary fit.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

import numpy as np

MSDE = [sys.executable, "-c", "from msde.cli.main import main; main()"]


def command(*arguments: object) -> list[str]:
    return [*MSDE, *map(str, arguments)]


def links(folder: Path, n: int, place: Path) -> Path:
    """Give the images of a folder new names until there are n."""
    from msde.images import find_images

    place.mkdir()
    for number, image in enumerate(islice(cycle(find_images([folder])), n)):
        # Hard links, for a link that is followed is the same file once.
        os.link(image, place / f"{number:07}{Path(image).suffix}") if same_disk(image, place) else (
            place / f"{number:07}{Path(image).suffix}"
        ).write_bytes(Path(image).read_bytes())
    return place


def same_disk(one: Path, other: Path) -> bool:
    return os.stat(one).st_dev == os.stat(other).st_dev


def manifest(path: Path, images: list[Path]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["path"], *([str(image)] for image in images)])
    return path


def model_of(folder: Path, place: Path) -> Path:
    from msde import AnomalyModel
    from msde.images import find_images

    model = place / "m.msde"
    AnomalyModel().fit(find_images([folder])[:60], heatmaps=False).save(model)
    return model


def speed(folder: Path, images: int, repeats: int, workers_of_runs: list[int]) -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        model = model_of(folder, place)
        listed = sorted(links(folder, images, place / "images").iterdir())
        everything = manifest(place / "all.csv", listed)
        cores = sorted(os.sched_getaffinity(0))
        for repeat in range(repeats):
            for workers in workers_of_runs:
                os.sched_setaffinity(0, cores[:workers])
                parts = place / f"parts{repeat}.{workers}"
                before = processor_time()
                one = timed(command("score", model, place / "images", "-o", place / "one.csv"))
                alone = processor_time() - before
                ray = timed(
                    command("score", model, everything, "--ray", "local", "--workers", workers, "--parts", parts)
                )
                summary = json.loads((parts / "_summary.json").read_text())
                at_work = summary["seconds"]
                start = started(model, listed[0], place)
                print(
                    f"{images} images on {workers} of {len(cores)} cores: one process {images / one:.2f} a second,"
                    f" {workers} Ray workers {images / ray:.2f}; efficiency {one / ray:.3f} end to end,"
                    f" {(one - start) / at_work:.3f} at work; core seconds per 1,000 images"
                    f" {1e3 * alone / images:.1f} and {1e3 * summary['core_seconds'] / images:.1f} (work alone)",
                    flush=True,
                )


def started(model: Path, image: Path, place: Path) -> float:
    """Time the command for one image: all that comes before the work."""
    return timed(command("score", model, image, "-o", place / "start.csv"))


def processor_time() -> float:
    """Seconds of the children so far; other work on the machine does not count."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def timed(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


DRIVER = """
import resource, sys
from msde.cluster import run as runner
from msde.cluster.cluster import Cluster
from msde.cluster.job_folder import Job
from msde.cluster.arrow import scores_table, to_parquet
from msde.cluster.worker import Done
from msde.model.score import ImageScore

class FakeWorker:
    def __init__(self, url, device):
        self.job = Job.open(url)
    def __call__(self, batch):
        import json
        from dataclasses import asdict
        done = []
        for part in map(int, batch["item"]):
            names = self.job.sources(part)
            table = scores_table(ImageScore(name, 1.0, 0.5, False, None) for name in names)
            took = Done(part, len(names), len(names), {}, 0, 0.0, 0.0)
            self.job.finish(part, to_parquet(table, took.note()))
            done.append(json.dumps(asdict(took)))
        return {"done": done}

runner.PartWorker = FakeWorker
job = Job.start(sys.argv[2], "score", ("fake", b""), [sys.argv[1]], 1000)
runner.run(job, Cluster(sys.argv[2], workers=1), print)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def memory(rows: list[int]) -> None:
    for n in rows:
        with tempfile.TemporaryDirectory() as name:
            listed = Path(name) / "m.csv"
            with listed.open("w") as file:
                file.write("path\n" + "".join(f"/images/of/a/hospital/{number:09}.png\n" for number in range(n)))
            start = time.perf_counter()
            out = subprocess.run(
                [sys.executable, "-c", DRIVER, str(listed), f"{name}/out"],
                check=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            seconds = time.perf_counter() - start
            print(f"{n} rows: driver's peak {float(out.stdout.split()[-1]):.0f} MB, {seconds:.0f} s", flush=True)


def kills(folder: Path, runs: int, images: int) -> None:
    from pyarrow import parquet

    rng = random.Random(0)  # noqa: S311
    lost = doubled = 0
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        model = model_of(folder, place)
        listed = sorted(links(folder, images, place / "images").iterdir())
        everything = manifest(place / "all.csv", listed)
        for run in range(runs):
            parts = place / f"parts{run}"
            job = command("score", model, everything, "--ray", "local", "--workers", 2, "--parts", parts)
            job += ["--part-rows", "20"]
            starts, n_kills = 0, 0
            while starts < 10:
                starts += 1
                process = subprocess.Popen(job, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                while process.poll() is None:
                    time.sleep(rng.uniform(0.5, 3))
                    begun = sorted(parts.glob("_started/0*"))
                    if n_kills < 3 and begun:
                        driver = run % 3 == 2 and n_kills == 1
                        worker = worker_of(rng.choice(begun))
                        if driver:
                            process.kill()
                        elif worker is not None:
                            os.kill(worker, signal.SIGKILL)
                        n_kills += driver or worker is not None
                if process.wait() == 0:
                    break
            names = [
                path
                for part in sorted(parts.glob("parts/*.parquet"))
                for path in parquet.read_table(part, columns=["path"]).column(0).to_pylist()
            ]
            errors = sum(
                parquet.read_table(part).column("error").null_count != parquet.read_metadata(part).num_rows
                for part in parts.glob("parts/*.parquet")
            )
            lost += len(set(map(str, listed)) - set(names))
            doubled += len(names) - len(set(names))
            print(
                f"run {run}: {n_kills} kills, {starts} starts, {len(names)} rows, {errors} parts with errors",
                flush=True,
            )
    print(f"{runs} runs: {lost} rows lost, {doubled} doubled")


def worker_of(note: Path) -> int | None:
    """Read who is at work; None where the part is done meanwhile, or the process is gone."""
    try:
        pid = int(json.loads(note.read_text())["pid"])
        os.kill(pid, 0)
        return pid
    except (OSError, json.JSONDecodeError):
        return None


def landmarks(cache: Path, only: str | None) -> None:
    from embeddings import load_sets
    from sklearn.metrics import roc_auc_score

    from msde import MSDEDetector
    from msde.cluster.moments import Moments
    from msde.embedding.encoder import DEFAULT_LOOKS

    shares = (1.0, 0.5)
    print("set                      normals  " + "  ".join(f"{share:5.0%}" for share in shares))
    aurocs = []
    sets = load_sets(cache, DEFAULT_LOOKS)
    for name, (train, normal, abnormal) in sets.items() if only is None else [(only, sets[only])]:
        rows, label = np.vstack([normal.rows, abnormal.rows]), np.repeat([0, 1], [len(normal.rows), len(abnormal.rows)])
        of_set = []
        for share in shares:
            most = round(share * len(train.rows))
            detector = MSDEDetector().fit(train.rows[np.arange(most) * len(train.rows) // most])
            scorer = detector.scorer_
            if share < 1:
                scorer = replace(scorer, gaussian=Moments.of(scorer.measured(train.rows)).gaussian())
            of_set.append(roc_auc_score(label, scorer.score(rows)))
        aurocs.append(of_set)
        print(f"{name:24s} {len(train.rows):7d}  " + "  ".join(f"{auroc:.3f}" for auroc in of_set), flush=True)
    print(f"{'mean':32s}  " + "  ".join(f"{auroc:.3f}" for auroc in np.mean(aurocs, axis=0)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "memory", "kills", "landmarks"])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--images", type=int)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 1])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--set")
    given = parser.parse_args()
    if given.what == "speed":
        speed(given.folder, given.images or 20_000, given.repeats, given.workers)
    elif given.what == "memory":
        memory(given.rows)
    elif given.what == "kills":
        kills(given.folder, given.runs, given.images or 400)
    else:
        landmarks(given.folder, given.set)


main()
