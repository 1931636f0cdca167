"""A benchmark from beginning to end: sets are made ready, cells are measured, and each goes to the journal."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from msde import __version__
from msde.benchmark.config import Config
from msde.benchmark.data import Order, Prepared, prepare
from msde.benchmark.detectors import find_detector
from msde.benchmark.experiment import Ready, Task, measure, plan
from msde.benchmark.journal import Journal, Line, current, read_journal
from msde.benchmark.provenance import revision, versions
from msde.benchmark.worker_pool import WorkerPool
from msde.errors import DataError, MSDEError
from msde.images.patients import GroupTable
from msde.method.parallel import available_cores

JOURNAL = "cells.jsonl"
Progress = Callable[[str, int], AbstractContextManager[Callable[[], object]]]


@dataclass(frozen=True)
class Results:
    """What a run has found."""

    config: Config
    lines: list[Line]  # one a cell; see docs/benchmark.md
    notices: list[str]  # what could not be run and which images could not be read, a line each
    n_measured: int  # cells that this run measured; the others were there from before
    # training normals, test normals and test abnormals of the sets that are there
    sizes: dict[str, tuple[int, int, int]]


def run(
    config: Config,
    data: Path,
    folder: Path,
    progress: Progress,
    jobs: int | None = None,
    device: str = "cpu",
    kinds: GroupTable | None = None,
) -> Results:
    """Measure all cells that the folder, which keeps the journal and what is computed of the images, does not hold yet.

    `data` is the folder of the sets, `jobs` the number of processes, by default of usable processors, and `device`
    where the networks run. `kinds` tells the kind of abnormal images, before what the config does. `progress` takes a
    label and a number of steps; it gives a context whose value is called after each. Raises DataError if none of the
    sets is there, OutputError if the folder cannot be written.
    """
    jobs = jobs or available_cores()
    ready, notices = _make_ready(config, data, folder, progress, jobs, device, kinds)
    groups = plan(config, ready, __version__)
    keys = [task.cell.key for group in groups for task in group]
    before = read_journal(folder / JOURNAL)
    finished = {line["key"] for line in before if "error" not in line}
    waiting = [[task for task in group if task.cell.key not in finished] for group in groups]
    waiting = [group for group in waiting if group]
    n_waiting = sum(map(len, waiting))
    origin = {"versions": versions(), "revision": revision()}
    with Journal(folder / JOURNAL) as journal, progress("Measuring", n_waiting) as tick:
        for task, result in WorkerPool(measure, jobs).run(waiting):
            line = _failure(task, result) if isinstance(result, Exception) else result
            before.append({**line, **origin})
            journal.append(before[-1])
            tick()
    lines = current(before, keys)
    sizes = {name: prepared.sizes for (name, _, _), prepared in ready.items()}
    return Results(config, lines, notices + _errors(lines), n_waiting, sizes)


def _make_ready(
    config: Config,
    data: Path,
    folder: Path,
    progress: Progress,
    jobs: int,
    device: str,
    kinds: GroupTable | None,
) -> tuple[Ready, list[str]]:
    if not data.is_dir():
        raise DataError(f"{data}: no such folder; give the folder of the sets with --data")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: cannot be made: {error.strerror}; give another folder") from error
    spaces = {find_detector(name).space for name in config.detectors}
    orders = [
        Order(one, backbone, space, data, folder / "rows", device, kinds)
        for one in config.sets
        for backbone in config.backbones
        for space in sorted(spaces)
        if space not in ("pixels", "files") or backbone == config.backbones[0]
    ]
    ready: dict[tuple[str, str, str], Prepared] = {}
    notices: list[str] = []
    unreadable: dict[str, None] = {}
    with progress("Embedding", len(orders)) as tick:
        for order, result in WorkerPool(prepare, jobs).run([[order] for order in orders]):
            if isinstance(result, Exception):
                if not isinstance(result, MSDEError | RuntimeError):
                    raise result
                notices.append(f"{order.plan.name}, {order.backbone.name}, {order.space}: {result}")
            else:
                ready[order.plan.name, order.backbone.name, order.space] = result
                unreadable |= dict.fromkeys(result.unreadable)
            tick()
    if not ready:
        raise DataError(f"{data}: nothing can be measured; {notices[0]}")
    return ready, [*notices, *unreadable]


def _failure(task: Task, error: Exception) -> Line:
    cell = task.cell
    return {"key": cell.key, **vars(cell), "error": str(error)}


def _errors(lines: list[Line]) -> list[str]:
    """Return once for each detector, set and protocol why cells are missing."""
    reasons = {
        f"{line['set']}, {line['backbone']}, {line['detector']}, {line['protocol']}: {line['error']}": None
        for line in lines
        if "error" in line
    }
    return list(reasons)
