"""One unit of work: a detector on a set by a protocol under one condition, with one seed."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msde.benchmark.config import Config, ProtocolPlan
from msde.benchmark.data import Prepared, load
from msde.benchmark.detectors import Lesson, Rows, Score, Teach, find_detector
from msde.benchmark.draws import Split, Subset
from msde.benchmark.memory import forget_peak, peak_megabytes
from msde.benchmark.protocols import PROTOCOLS, Condition, Measurement, Subject, label_free_quality
from msde.errors import MSDEError

DIGITS = 6
Ready = Mapping[tuple[str, str, str], Prepared]
"""Sets made ready, by set, backbone and space."""


@dataclass(frozen=True)
class Experiment:
    """What determines a result."""

    set: str
    backbone: str
    detector: str
    protocol: str
    condition: Condition
    seed: int  # of the draw, and of the detector where it is random
    digest: str  # of the set's rows, and of another's where that is scored
    alpha: float  # target false-alarm rate
    select: bool  # whether the label-free quality is wanted
    version: str  # of this package

    @property
    def key(self) -> str:
        """The hash of all of it, in hexadecimal."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Task:
    """A cell, and where its rows and those of other sets are."""

    cell: Experiment
    rows: Mapping[str, Path]


def plan(config: Config, ready: Ready, version: str) -> list[list[Task]]:
    """List all cells, those that share a fit together, detector by detector in the order of the file.

    Cells of sets that are not in `ready` are left out.
    """
    groups: dict[tuple[Any, ...], list[Task]] = {}
    for detector, protocol, backbone, name in (
        (detector, protocol, backbone.name, one.name)
        for detector in config.detectors
        for backbone in config.backbones
        for one in config.sets
        for protocol in config.protocols
    ):
        kind = find_detector(detector)
        sees_no_backbone = kind.space in ("pixels", "files") and backbone != config.backbones[0].name
        prepared = ready.get((name, backbone, kind.space))
        if prepared is None or sees_no_backbone or detector not in protocol.detectors:
            continue
        if not PROTOCOLS[protocol.name].takes(kind):
            continue
        rows = {
            one: made.path
            for (one, network, space), made in ready.items()
            if (network, space) == (backbone, kind.space)
        }
        for condition, digest in _conditions(config, protocol, name, backbone, kind.space, ready):
            repeated = PROTOCOLS[protocol.name].drawn and condition != "all"
            for seed in range(config.draws if repeated or kind.random else 1):
                select = config.select and protocol.name == "single" and seed == 0
                cell = Experiment(
                    name, backbone, detector, protocol.name, condition, seed, digest, config.alpha, select, version
                )
                shared = (name, backbone, detector, seed if kind.random else 0)
                groups.setdefault(shared, []).append(Task(cell, rows))
    return list(groups.values())


def _conditions(
    config: Config, protocol: ProtocolPlan, name: str, backbone: str, space: str, ready: Ready
) -> Iterator[tuple[Condition, str]]:
    """Yield the conditions that a set allows, and the digest of the rows that take part."""
    own = ready[name, backbone, space]
    if protocol.name == "cross-site":
        modality = next(one.modality for one in config.sets if one.name == name)
        for other in config.sets:
            target = ready.get((other.name, backbone, space))
            if other.modality == modality and other.name != name and target is not None:
                yield other.name, f"{own.digest} {target.digest}"
        return
    for condition in protocol.conditions:
        too_few = protocol.name == "few-normals" and isinstance(condition, int) and condition >= own.sizes[0]
        one_kind = protocol.name == "open-set" and len(own.kinds) < 2
        if not (too_few or one_kind):
            yield condition, own.digest


def measure(task: Task) -> dict[str, Any]:
    """Compute a cell: its key, what came of it (figures, or ``error``), and what it took.

    That is seconds of the fit, of scoring and of the whole cell, and peak memory in MB. The scores are kept where every
    test image was scored once.
    """
    cell = task.cell
    line: dict[str, Any] = {"key": cell.key, **asdict(cell)}
    forget_peak()
    start = time.perf_counter()
    try:
        measured, fitted, clock = _run(task)
    except (MSDEError, ValueError, ArithmeticError, MemoryError, RuntimeError, np.linalg.LinAlgError) as error:
        return {**line, "error": str(error).partition("\n")[0] or type(error).__name__}
    seconds = time.perf_counter() - start
    line |= {name: round(value, DIGITS) for name, value in measured.figures.items()}
    line |= {"seconds": round(seconds, 4), "peak_mb": round(max(peak_megabytes(), fitted.peak_mb if fitted else 0), 1)}
    line["fit_seconds"] = round(fitted.seconds if fitted else clock.fitting, 4)
    line["score_seconds"] = round(clock.scoring, 4)
    if measured.labelled is not None:
        labelled = measured.labelled
        line["scores"] = {
            "values": [float(f"{score:.{DIGITS}g}") for score in labelled.scores],
            "abnormal": labelled.abnormal.astype(int).tolist(),
            "patients": np.unique(labelled.patients, return_inverse=True)[1].tolist(),
        }
    return line


@dataclass(frozen=True)
class _Fitted:
    """A fit to all training normals, and what it took."""

    score: Score
    seconds: float
    peak_mb: float


@dataclass
class _Clock:
    """Seconds spent on fits that are not kept, and on scoring."""

    fitting: float = 0.0
    scoring: float = 0.0

    def timed(self, score: Score) -> Score:
        """Count the seconds of each call of a score."""

        def timing(rows: Rows) -> NDArray[np.float64]:
            start = time.perf_counter()
            scores = score(rows)
            self.scoring += time.perf_counter() - start
            return scores

        return timing


def _run(task: Task) -> tuple[Measurement, _Fitted | None, _Clock]:
    cell, detector = task.cell, find_detector(task.cell.detector)
    split, spans = load(task.rows[cell.set])
    fits: list[_Fitted] = []
    clock = _Clock()

    def fit(normals: Rows, pool: Rows | None = None) -> Score:
        start = time.perf_counter()
        score = detector.fit(Lesson(normals, cell.seed, pool, spans))
        clock.fitting += time.perf_counter() - start
        return clock.timed(score)

    def clean() -> Score:
        fits.append(_fit_clean(task.rows[cell.set], cell.detector, cell.seed if detector.random else 0))
        return clock.timed(fits[-1].score)

    def other(name: str) -> Split:
        return load(task.rows[name])[0]

    def taught(teach: Teach, labels: Subset) -> Score:
        start = time.perf_counter()
        score = _taught(task.rows[cell.set], teach, cell.seed if detector.random else 0)(labels)
        clock.fitting += time.perf_counter() - start
        return clock.timed(score)

    calibrate, lesson = detector.calibrate, Lesson(split.train.rows, cell.seed, None, spans, split.train.patients)
    calibration = None if calibrate is None else lambda: calibrate(lesson)
    subject = Subject(
        split, detector, fit, clean, other, cell.alpha, calibration, detector.teach and partial(taught, detector.teach)
    )
    protocol = PROTOCOLS[cell.protocol]
    measured = protocol.run(subject, cell.condition, np.random.default_rng([cell.seed, 1]))
    if cell.select:
        measured = Measurement({**measured.figures, "aucp": label_free_quality(subject)}, measured.labelled)
    return measured, fits[0] if fits else None, clock


@lru_cache(maxsize=1)
def _fit_clean(path: Path, name: str, seed: int) -> _Fitted:
    split, spans = load(path)
    start = time.perf_counter()
    score = find_detector(name).fit(Lesson(split.train.rows, seed, None, spans))
    return _Fitted(score, time.perf_counter() - start, peak_megabytes())


@lru_cache(maxsize=1)
def _taught(path: Path, teach: Teach, seed: int) -> Callable[[Subset], Score]:
    """Let a detector learn from all training normals; what it gives learns from labels."""
    split, spans = load(path)
    return teach(Lesson(split.train.rows, seed, None, spans, split.train.patients))
