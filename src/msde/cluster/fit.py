"""Fit a model to embeddings in parts: as ever while they fit into memory, by landmarks and one pass beyond."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msde.cluster.api import embed_on
from msde.cluster.arrow import EMBEDDINGS, embeddings, matrix
from msde.cluster.cluster import Cluster
from msde.cluster.driver import Summary, Tell
from msde.cluster.job_folder import JobFolder
from msde.cluster.moments import Moments
from msde.cluster.stored_headers import StoredHeaders
from msde.embedding.embed import Embedded
from msde.images.patients import Key, Patients, settled
from msde.method.arrays import IndexArray, evenly_spaced
from msde.method.calibration import Calibration
from msde.method.detection import Detection
from msde.method.groups import apart, dealt_folds, joined
from msde.method.outliers import LIMIT
from msde.method.scorers import InductiveScorer
from msde.model.anomaly_model import AnomalyModel
from msde.model.applicability import Applicability
from msde.model.fingerprint import Fingerprint
from msde.model.fitted import FittedModel
from msde.model.grouping import check_groups
from msde.model.labels import Kinds, check_apart
from msde.model.learning import learn
from msde.model.training_set import TrainingSet, without_keys

GROUPS_PER_WORKER = 4
N_FOLDS = 10
NAMED = 10_000
"""Distrusted normals that are named at most when there are more normals than landmarks."""
_POOL = {"unlabelled"}  # of which nobody asks whom they are of


def fit_on(
    cluster: Cluster,
    model: AnomalyModel,
    normals: Sequence[str],
    unlabelled: Sequence[str],
    landmarks: int,
    tell: Tell,
    groups: Patients | None = None,
    confidence: float | None = None,
    abnormal: Sequence[str] = (),
    kinds: Kinds | None = None,
    applies_to: Applicability | None = None,
) -> tuple[AnomalyModel, list[Summary]]:
    """Fit a model as :meth:`msde.AnomalyModel.fit` does, on a cluster, whose folder takes the embeddings.

    Takes an unfitted model, of which the encoder, the image rule and the detector are used, and images as
    :func:`msde.cluster.listing.sources` does. Up to `landmarks` normals the fit is the ordinary one. Beyond, evenly
    spaced landmarks stand for all: they decide the scale of the features, how rows are shifted, and calibrate; the
    Gaussian is that of all normals in inductive mode without labels, otherwise of the landmarks.

    Patients are told by `groups` from the names of images, and from the headers of DICOM files, which this machine
    reads where it can open them and from object storage. What images depict is not looked up: `applies_to` states it.

    Returns the fitted model, without heat maps, and the figures of embedding normals, unlabelled and labelled images.
    Raises DataError if too few images can be used or labels contradict the normals or each other, MSDEError if the
    cluster fails.
    """
    patients = groups or Patients()
    detector = model.detector or Detection("adaptive" if unlabelled else "inductive")
    jobs: dict[str, Parts] = {}
    summaries = []
    with cluster.running() as workers:
        for name, inputs in (("normals", normals), ("unlabelled", unlabelled), ("abnormal", abnormal)):
            if inputs:
                place = replace(cluster, parts=f"{cluster.parts.rstrip('/')}/{name}")
                job, summary = embed_on(place, model.encoder, model.rule, inputs, tell)
                jobs[name] = Parts.of(job)
                summaries.append(summary)
        parts = jobs["normals"]
        headers = StoredHeaders.read(patients, (file for name in jobs.keys() - _POOL for file in jobs[name].files()))

        def collect(name: str, kind: str, at_least: int) -> TrainingSet:
            told = (lambda image: headers.keys(image.name, image.volume)) if name not in _POOL else without_keys
            return TrainingSet.collect(jobs[name].landmarks(landmarks), kind, at_least, told)

        collected = collect("normals", "normal", 2)
        notes = check_groups(patients, collected.names, collected.keys, collected.groups)
        collected = replace(collected, notes=collected.notes + notes)
        pool = collect("unlabelled", "unlabelled", 1) if unlabelled else None
        labelled = collect("abnormal", "abnormal", 1) if abnormal else None
        if labelled and len(parts.kept) > landmarks:  # the fit compares them with the landmarks alone
            check_apart(dict.fromkeys(parts.digests, "one of them"), labelled)
        fitted, report = learn(
            collected,
            pool,
            detector,
            model.encoder,
            model.rule,
            confidence=confidence,
            labelled=labelled,
            kinds=kinds,
        )
        if len(parts.kept) > landmarks:  # some slices of each volume were seen, and a whole one scores otherwise
            fitted = replace(fitted, volumes=None, patients=None)
        if len(parts.kept) > landmarks and detector.mode == "inductive" and labelled is None:
            tell(f"the Gaussian takes all {len(parts.kept)} normals")
            fitted, distrusted = _take_all(fitted, detector, parts, collected.digests, parts.groups(headers), workers)
            report = replace(report, distrusted=distrusted)
    if any(len(each.kept) > landmarks for each in jobs.values()):
        errors = [error for each in jobs.values() for error in each.errors]
        n_copies = sum(each.n_copies for each in jobs.values())
        report = replace(report, unreadable=errors, n_copies=n_copies, peak=parts.peak)
    return AnomalyModel.of(replace(fitted, applies_to=applies_to), model.session, report=report), summaries


@dataclass(frozen=True)
class Parts:
    """Embeddings in the parts of a job, and which of them are used."""

    job: JobFolder  # all of whose parts are done
    kept: NDArray[np.int64]  # (n,): place of each usable, distinct image among all rows of all parts, ascending
    starts: NDArray[np.int64]  # (n_parts + 1,): place of the first row of each part
    digests: list[bytes]  # of the images that are kept
    errors: list[str]  # why the others could not be used
    n_copies: int  # exact copies of others, which are left out
    peak: float  # the brightest pixel

    @classmethod
    def of(cls, job: JobFolder) -> Parts:
        """Look through the parts of a job, without their embeddings."""
        seen: set[bytes] = set()
        kept: list[int] = []
        digests: list[bytes] = []
        errors: list[str] = []
        starts = [0]
        n_copies, peak = 0, 0.0
        for part in range(job.n_parts):
            starts.append(starts[-1])
            table = _read(job, part, ["sha256", "error", "peak"])
            for row in table.to_pylist():
                peak = max(peak, row["peak"])
                if row["error"]:
                    errors.append(row["error"])
                elif row["sha256"] in seen:
                    n_copies += 1
                else:
                    seen.add(row["sha256"])
                    digests.append(row["sha256"])
                    kept.append(starts[-1])
                starts[-1] += 1
        return cls(job, np.array(kept, np.int64), np.array(starts), digests, errors, n_copies, peak)

    def files(self) -> Iterator[str]:
        """Yield the file of each image that is kept, or its address."""
        for part in range(self.job.n_parts):
            for row in _read(self.job, part, ["path", "volume"]).take(self.of_part(part)[0]).to_pylist():
                yield row["volume"] or row["path"]

    def groups(self, headers: StoredHeaders) -> IndexArray:
        """Return the number of the patient or volume of each image that is kept, (n,); -1 where nothing tells it."""
        keys: list[frozenset[Key]] = []
        volumes: list[str | None] = []
        for part in range(self.job.n_parts):
            for row in _read(self.job, part, ["path", "volume"]).take(self.of_part(part)[0]).to_pylist():
                keys.append(headers.keys(row["path"], row["volume"]))
                volumes.append(row["volume"])
        told, _ = settled(keys, one_is_none=True)
        return joined([{*keys, volume} if volume else keys for keys, volume in zip(told, volumes, strict=True)])

    def landmarks(self, most: int) -> Iterator[Embedded]:
        """Yield all images in order, or only as many as asked for, evenly spaced, where more could be used."""
        if len(self.kept) <= most:
            for part in range(self.job.n_parts):
                yield from embeddings(_read(self.job, part))
            return
        for part, wanted in self._by_part(self.chosen(most)):
            yield from embeddings(_read(self.job, part).take(wanted))

    def chosen(self, most: int) -> NDArray[np.int64]:
        """Give the numbers among those kept of as many as asked for, evenly spaced."""
        return np.arange(most) * len(self.kept) // most

    def of_part(self, part: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Give the rows of a part that are kept, and their numbers among all that are kept."""
        first, last = np.searchsorted(self.kept, self.starts[part : part + 2])
        return self.kept[first:last] - self.starts[part], np.arange(first, last)

    def _by_part(self, chosen: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
        places = self.kept[chosen]
        bounds = np.searchsorted(places, self.starts)
        for part in range(self.job.n_parts):
            wanted = places[bounds[part] : bounds[part + 1]] - self.starts[part]
            if len(wanted):
                yield part, wanted


@dataclass(frozen=True)
class Pass:
    """What one look at the embeddings of some parts gives."""

    folds: list[Moments]  # of the normals of each fold
    distrusted: int  # number of those that stand out
    worst: list[tuple[float, str]]  # distance and name of the most doubtful

    def __add__(self, other: Pass) -> Pass:
        """Put the looks at different parts together."""
        return Pass(
            [one + two for one, two in zip(self.folds, other.folds, strict=True)],
            self.distrusted + other.distrusted,
            heapq.nlargest(NAMED, self.worst + other.worst),
        )


def pass_over(
    url: str,
    rows: Sequence[tuple[int, NDArray[np.int64], NDArray[np.int64]]],
    scorer: InductiveScorer,
    farthest: float,
    n_folds: int,
) -> Pass | None:
    """Add up the normals of some parts by fold; return None where no row is asked for.

    `rows` are of (part, rows of it, fold of each), the scorer is that of the landmarks, and a normal beyond the
    distance `farthest` stands out.
    """
    job, total = JobFolder.open(url), None
    for part, wanted, fold in rows:
        table = _read(job, part, ["path", "embedding"]).take(wanted)
        measured = scorer.measured(matrix(table))
        distances = scorer.gaussian.mahalanobis(measured)
        moments = [Moments.of(measured[fold == number]) for number in range(n_folds)]
        far = distances > farthest
        names = table.column("path").take(np.flatnonzero(far)).to_pylist()
        looked = Pass(moments, int(far.sum()), list(zip(distances[far].tolist(), names, strict=True)))
        total = looked if total is None else total + looked
    return total


def _take_all(
    fitted: FittedModel,
    detector: Detection,
    parts: Parts,
    learnt: Sequence[bytes],
    patients: IndexArray,
    workers: int,
) -> tuple[FittedModel, list[str]]:
    """Put the Gaussian of all normals in place of that of the landmarks, and calibrate the landmarks on it.

    `learnt` are the digests of the landmarks in the order in which the detector saw them, `patients` the groups of all
    normals. Returns the model and the names of normals that stand out.
    """
    scorer = detector.scorer_
    assert isinstance(scorer, InductiveScorer)  # noqa: S101 - of the inductive mode
    fold = np.empty(len(parts.kept), np.int8)
    held_out = dealt_folds(patients, N_FOLDS)
    for number, members in enumerate(held_out):
        fold[members] = number
    groups = []
    for numbers in np.array_split(np.arange(parts.job.n_parts), min(parts.job.n_parts, GROUPS_PER_WORKER * workers)):
        by_part = ((int(part), *parts.of_part(int(part))) for part in numbers)
        groups.append([(part, rows, fold[which]) for part, rows, which in by_part if len(rows)])
    looked = _looked(
        parts.job.storage.url,
        [group for group in groups if group],
        scorer,
        farthest_trusted(detector),
        workers,
        len(held_out),
    )
    total = sum(looked.folds[1:], looked.folds[0])
    chosen = parts.chosen(len(learnt))
    rows = np.stack([image.embedding for image in parts.landmarks(len(learnt)) if image.embedding is not None])
    scores = np.empty(len(rows))
    for number in range(len(held_out)):
        others = [moments for other, moments in enumerate(looked.folds) if other != number]
        without = replace(scorer, gaussian=sum(others[1:], others[0]).gaussian())
        mine = fold[chosen] == number
        if mine.any():
            scores[mine] = without.score(rows[mine])
    if scorer.shift is not None and len(scorer.shift.weights) < len(scores):
        # Those that took the frozen path pull themselves, which no new image does; where all did, there are no others.
        took_it = {learnt[row] for row in evenly_spaced(len(scores), len(scorer.shift.weights))}
        beside_it = [place for place, number in enumerate(chosen) if parts.digests[number] not in took_it]
        scores, chosen = scores[beside_it], chosen[beside_it]
    fitted = replace(
        fitted,
        scorer=replace(scorer, gaussian=total.gaussian()),
        images=Calibration.of(
            scores,
            detector.alpha,
            "cross-fitted landmarks of the training normals",
            apart(patients[chosen]),
            fitted.images.confidence,
        ),
        fingerprint=Fingerprint.of(parts.digests),
    )
    return fitted, [name for _, name in looked.worst]


def _looked(
    url: str, groups: Sequence[Any], scorer: InductiveScorer, farthest: float, workers: int, n_folds: int
) -> Pass:
    """Pass over groups of parts, one a worker at a time, and add up what comes back."""
    import ray

    task = ray.remote(num_cpus=1, max_retries=3)(pass_over)
    frozen = ray.put(scorer)
    waiting = deque(groups)
    running: list[Any] = []
    total: Pass | None = None
    while waiting or running:
        while waiting and len(running) < workers:
            running.append(task.remote(url, waiting.popleft(), frozen, farthest, n_folds))
        (ready, *_), running = ray.wait(running)
        looked: Pass = ray.get(ready)
        total = looked if total is None else total + looked
    assert total is not None  # noqa: S101 - there are more normals than landmarks
    return total


def farthest_trusted(detector: Detection) -> float:
    """Give the distance that parts trusted landmarks from the others.

    It is on the scale of :func:`msde.method.outliers.outlyingness`, of held-out landmarks, because the others
    were not in the fit that measures them either.
    """
    middle, low = np.quantile(np.log(np.maximum(detector.cross_fitted_scores(), 1e-300)), [0.5, 0.1587])
    return float(np.exp(middle + LIMIT * (middle - low)))


def _read(job: JobFolder, part: int, columns: Iterable[str] = EMBEDDINGS.names) -> Any:
    from pyarrow import parquet

    with job.open_part(part) as file:
        return parquet.read_table(file, columns=list(columns))
