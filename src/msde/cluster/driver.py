"""Do the parts of a job on a cluster, tell how it goes and what it took."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta

from msde.cluster.cluster import Cluster
from msde.cluster.job_folder import JobFolder
from msde.cluster.worker import Done, PartWorker
from msde.errors import MSDEError

MOST_BLOCKS = 10_000
TOLD_EVERY = 10.0
SUMMARY = "_summary.json"

Tell = Callable[[str], object]


@dataclass(frozen=True)
class Summary:
    """Figures of a finished job."""

    images: int  # listed ones
    rows: int  # written: a file of several pictures has more than one
    errors: dict[str, int]  # rows that have an error, by its kind: image, storage, killer or memory
    read: int  # size of the images in bytes
    core_seconds: float  # processor time of all parts; of parts that were begun again, that of the last time
    seconds: float  # wall time of this run
    images_now: int  # done in this run; the others were done when it began

    def lines(self) -> list[str]:
        """Return it in words, a line each."""
        bad = sum(self.errors.values())
        kinds = f" ({', '.join(f'{n} {kind}' for kind, n in sorted(self.errors.items()))})" if bad else ""
        per_thousand = 1000 * self.core_seconds / max(self.images, 1)
        return [
            f"{self.images} images, {self.rows} rows, {bad} errors{kinds}, {self.read / 1e6:.1f} MB read",
            f"{self.images_now} images in {self.seconds:.1f} s: {self.images_now / max(self.seconds, 1e-9):.1f} a"
            f" second; {per_thousand:.1f} core seconds per 1,000 images",
        ]


def run(job: JobFolder, cluster: Cluster, tell: Tell) -> Summary:
    """Work on all parts that are not done, each once; `tell` takes a line on the progress now and then.

    A worker that dies is started again, and its part with it, image by image in a child process; a driver that dies is
    started again by the user and goes on where it was. Raises MSDEError if a worker cannot start, or one part kills
    worker after worker.
    """
    finished = set(job.finished())
    to_do = [part for part in range(job.n_parts) if part not in finished]
    start = time.monotonic()
    all_done: dict[int, Done] = {}
    images_now = n_errors = 0
    if not to_do:
        tell(f"all {job.n_parts} parts are done already; remove {job.storage.url} to do them again")
    if to_do:
        if finished:
            tell(f"{len(finished)} of {job.n_parts} parts are done already")
        with cluster.running() as workers:
            told = start = time.monotonic()
            share = len(to_do) / job.n_parts
            for done in _done(job, cluster, workers, to_do):
                all_done[done.part] = done
                images_now += done.images
                n_errors += sum(done.errors.values())
                if time.monotonic() - told >= TOLD_EVERY:
                    told = time.monotonic()
                    tell(_progress(images_now, round(share * job.about["images"]), n_errors, told - start))
    seconds = time.monotonic() - start
    finished = set(job.finished())
    # Of an earlier run, or whose worker died before it could tell.
    parts = [*all_done.values(), *(_read_notes(job, part) for part in finished - all_done.keys())]
    images = sum(done.images for done in parts)
    if len(finished) != job.n_parts or images != job.about["images"]:
        raise MSDEError(f"{job.storage.url}: {job.n_parts - len(finished)} parts are missing; start the same job again")
    summary = Summary(
        images=images,
        rows=sum(done.rows for done in parts),
        errors=dict(sum((Counter(done.errors) for done in parts), Counter())),
        read=sum(done.read for done in parts),
        core_seconds=sum(done.core_seconds for done in parts),
        seconds=seconds,
        images_now=images_now,
    )
    job.storage.write(SUMMARY, json.dumps(asdict(summary), indent=2).encode())
    return summary


def _done(job: JobFolder, cluster: Cluster, workers: int, to_do: Sequence[int]) -> Iterator[Done]:
    """Let the workers do parts; yield what each took, in no stated order."""
    import ray.data
    from ray.exceptions import RayError

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    # A part a block, and one part waiting at each worker, so that a slow node takes fewer parts.
    parts = ray.data.from_items(list(to_do), override_num_blocks=min(len(to_do), MOST_BLOCKS))
    done = parts.map_batches(
        PartWorker,
        fn_constructor_kwargs={"url": job.storage.url, "device": cluster.device},
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(to_do)), max_tasks_in_flight_per_actor=2),
        num_cpus=1,
        num_gpus=cluster.gpus or None,
    )
    try:
        for row in done.iter_rows():
            if took := json.loads(row["done"]):
                yield Done(**took)
    except RayError as error:
        raise _plain(error) from error


def _plain(error: BaseException) -> MSDEError:
    """Find the package's own error in Ray's, or what else was at the bottom of it."""
    while cause := getattr(error, "cause", None) or error.__cause__:
        if isinstance(cause, MSDEError):
            return MSDEError(str(cause))
        error = cause
    what = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
    return MSDEError(f"the cluster failed ({what}); start the same job again, finished parts are kept")


def _progress(done: int, of: int, errors: int, seconds: float) -> str:
    rate = done / seconds
    left = timedelta(seconds=round((of - done) / rate)) if rate else "?"
    return f"{done} of about {of} images, {rate:.1f} a second, {left} left, {errors} errors"


def _read_notes(job: JobFolder, part: int) -> Done:
    from pyarrow import parquet

    with job.open_part(part) as file:
        return Done.from_notes(parquet.read_metadata(file).metadata)
