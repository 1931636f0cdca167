"""Scoring what is queued: threads that take images, score them and store results."""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from msde.embedding.embed import Tick
from msde.errors import MSDEError
from msde.images import Part
from msde.images.passing import is_passing, times_met
from msde.model.anomaly_model import AnomalyModel
from msde.model.score import ImageScore
from msde.serve.backoff import pause
from msde.serve.logs import log, log_failure
from msde.serve.metrics import Metrics
from msde.serve.models import Models
from msde.serve.storage import outbox, queue
from msde.serve.storage.database import Database
from msde.serve.storage.queue import Claim, Outcome
from msde.serve.storage.store import Store
from msde.serve.storage.tables import Image, Score

BATCH = 8
POLL = 0.5
STOP_WITHIN = 6.0
SLICES = 5  # of a volume, whose scores are kept: the highest
FIRST, LONGEST = timedelta(seconds=1), timedelta(seconds=30)  # before what the machine's state kept is tried again

Sources = Sequence[Path | Part]


class Stopped(Exception):  # noqa: N818 - no error
    """The service stops, and what was begun is left to the next start."""


def judge(model: AnomalyModel, images: Sequence[tuple[str, Sources]], stopping: Callable[[], bool]) -> list[Outcome]:
    """Score images and volumes.

    Parameters
    ----------
    model : AnomalyModel
    images : sequence of (str, sequence of Path and Part)
        What an error calls the image, and what `msde.serve.storage.store.Store.sources` lists for it.
    stopping : callable
        Called after each image or slice: whether to stop.

    Returns
    -------
    list of Outcome
        One an image, in their order.

    Raises
    ------
    Stopped
        If `stopping` says so.
    """

    def tick() -> None:
        if stopping():
            raise Stopped

    outcomes: dict[int, Outcome] = {}
    for number, (_, sources) in enumerate(images):
        if sources and (why := model.fitted.why_not(sources[0])):
            outcomes[number] = Outcome(math.nan, math.nan, why, len(sources), suited=False)
    single = [n for n, (_, sources) in enumerate(images) if n not in outcomes and _is_single(sources)]
    for number, score in zip(single, model.score_iter([images[n][1][0] for n in single], tick=tick), strict=True):
        name, sources = images[number]
        seen = _was_seen(model, [score])
        outcomes[number] = Outcome(
            score.anomaly_score,
            score.p_value,
            _renamed(score.error, sources, name),
            seen_in_training=seen,
            evidence=score.evidence,
        )
    for number, (name, sources) in enumerate(images):
        if number not in outcomes:
            outcomes[number] = _judge_volume(model, name, sources, tick)
    return [outcomes[number] for number in range(len(images))]


def marked(outcomes: Iterable[Outcome], met: int) -> list[Outcome]:
    """Mark errors as passing where reading has met a state that passes since it had been met `met` times.

    In which image of several it was cannot be told: what is broken is tried again, and fails then.
    """
    if times_met() == met:
        return list(outcomes)
    return [replace(outcome, passing=outcome.error is not None) for outcome in outcomes]


def _judge_volume(model: AnomalyModel, name: str, sources: Sources, tick: Tick) -> Outcome:
    if not sources:
        return Outcome(math.nan, math.nan, f"{name}: holds no image; send another file")
    scores = list(model.score_iter(sources, tick=tick))
    parts = [score for score in scores if not score.is_volume]
    volume = next(score for score in reversed(scores) if score.is_volume)
    error = next((part.error for part in parts if part.error is not None), volume.error)
    usable = [number for number, part in enumerate(parts) if part.error is None]
    highest = sorted(usable, key=lambda number: -parts[number].anomaly_score)[:SLICES]
    top = tuple((number, parts[number].anomaly_score, _p(parts[number])) for number in highest)
    seen = _was_seen(model, parts)
    return Outcome(
        volume.anomaly_score,
        volume.p_value,
        _renamed(error, sources, name),
        len(parts),
        top,
        seen,
        volume.evidence,
        () if error else tuple(part.anomaly_score for part in parts),
    )


def _is_single(sources: Sources) -> bool:
    return len(sources) == 1 and not isinstance(sources[0], Part)


def _p(score: ImageScore) -> float | None:
    return None if math.isnan(score.p_value) else score.p_value


def _was_seen(model: AnomalyModel, scores: Iterable[ImageScore]) -> bool:
    """Whether the model has learnt from one of the images."""
    return bool(model.fitted.has_seen([score.digest for score in scores if score.digest]).any())


def _renamed(error: str | None, sources: Sources, name: str) -> str | None:
    """Put the image's name in place of the path where it is kept."""
    if error is None:
        return None
    source = sources[0]
    paths = [source.volume, source.path] if isinstance(source, Part) else [str(source)]
    for path in paths:
        error = error.replace(path, name)
    return error


@dataclass(frozen=True)
class _Done:
    """Outcomes and modalities by score_id, and how long each took."""

    outcomes: dict[int, Outcome] = field(default_factory=dict)
    modalities: dict[int, str] = field(default_factory=dict)
    seconds: float = 0.0


class Scorers:
    """Threads that score what is queued, a batch each at a time.

    Parameters
    ----------
    database, store, models, metrics
        Of the service.
    destinations : sequence of str
        Where results of DICOM images are to be sent.
    threads : int
        How many batches are worked on at once.
    receivers : sequence of str
        Who is to be told of flagged images.
    """

    def __init__(
        self,
        database: Database,
        store: Store,
        models: Models,
        metrics: Metrics,
        destinations: Sequence[str],
        threads: int,
        receivers: Sequence[str] = (),
    ) -> None:
        self._database, self._store, self._models, self._metrics = database, store, models, metrics
        self._destinations, self._receivers = destinations, receivers
        self._wake = threading.Event()
        self._looking = threading.Lock()  # of the one idle thread that looks into the queue for all
        self._stop = threading.Event()
        self._me = uuid.uuid4().hex
        self._at_hand: dict[str, list[int]] = {}  # by worker, the score_ids on which it is at work
        self._kept_off: dict[int, int] = {}  # how often in a row by score_id, of what the machine's state kept off
        self._jobs: dict[str, Callable[[], None]] = {
            f"msde-score-{n}": partial(self._work, f"{self._me}-{n}") for n in range(threads)
        } | {"msde-lease": self._renew}
        self._threads: dict[str, threading.Thread] = {}
        self._ended: dict[str, str] = {}  # kinds of the errors that threads ended by

    def start(self) -> None:
        """Start the threads."""
        for name in self._jobs:
            self._begin(name)

    def replace_dead(self) -> bool:
        """Start anew what has ended though it should not; return whether all threads run."""
        if self._stop.is_set():
            return True
        dead = [name for name, thread in self._threads.items() if not thread.is_alive()]
        for name in dead:
            reason = self._ended.get(name, "unknown")
            try:
                self._begin(name)
            except RuntimeError:  # no further thread can be started
                log("error", "a thread ended and cannot be replaced", worker=name, reason=reason)
                return False
            log("warning", "a thread ended and was replaced", worker=name, reason=reason)
        return True

    def _begin(self, name: str) -> None:
        # A daemon, because a process that is told to stop must not wait for a long volume.
        thread = threading.Thread(target=self._run, args=(name,), name=name, daemon=True)
        thread.start()
        self._threads[name] = thread

    def _run(self, name: str) -> None:
        try:
            self._jobs[name]()
        except BaseException as error:
            self._ended[name] = type(error).__name__
            log_failure("a thread ended", error)

    def wake(self) -> None:
        """Look into the queue now."""
        self._wake.set()

    def stop(self) -> None:
        """Finish the batches at hand if that is soon done, else leave them to the next start."""
        self._stop.set()
        self._wake.set()
        until = time.monotonic() + STOP_WITHIN
        for thread in self._threads.values():
            thread.join(max(0.0, until - time.monotonic()))
        with self._database.write() as session:
            for worker in self._workers():
                queue.give_back(session, worker)

    def _workers(self) -> list[str]:
        return [f"{self._me}-{n}" for n in range(len(self._jobs) - 1)]

    def _work(self, worker: str) -> None:
        done = _Done()
        while not self._stop.is_set():
            self._wake.clear()  # first, so that what is queued from here on is not slept through
            try:
                claimed, images = self._next(worker, done)
                done = _Done()
                self._at_hand[worker] = [row.score_id for row in claimed]
                if claimed:
                    self._wake.set()  # there may be more, for another thread
                    done = self._score(claimed, images)
                    continue
            except Stopped:
                return
            except Exception as error:  # a full disk or a database away must not end the thread
                log_failure("scoring failed", error)
                done = _Done()
                self._at_hand.pop(worker, None)
                self._leave(worker)
                self._stop.wait(2.0)
            with self._looking:
                if not self._stop.is_set():
                    self._wake.wait(POLL)
        try:
            self._next(worker, done, limit=0)
        except SQLAlchemyError as error:  # then it is scored again after the next start
            log_failure("a last batch could not be stored", error)

    def _next(self, worker: str, done: _Done, limit: int = BATCH) -> tuple[list[Claim], list[Image]]:
        """Store what is done and take what is next, in one transaction."""
        with self._database.write() as session:
            stored = self._settle(session, worker, done.outcomes) if done.outcomes else []
            claimed = queue.claim(session, worker, limit) if limit else []
            chosen = select(Image).where(Image.id.in_([row.image_id for row in claimed]))
            images = {image.id: image for image in session.scalars(chosen)} if claimed else {}
        for score_id in stored:
            self._metrics.scored(done.modalities[score_id], done.outcomes[score_id].state, done.seconds)
        return claimed, [images[row.image_id] for row in claimed]

    def _settle(self, session: Session, worker: str, outcomes: Mapping[int, Outcome]) -> list[int]:
        """Store what is settled, and put off the rest."""
        settled = {score_id: outcome for score_id, outcome in outcomes.items() if not outcome.passing}
        for score_id in settled:
            self._kept_off.pop(score_id, None)
        put_off = outcomes.keys() - settled.keys()
        if put_off:
            for score_id in put_off:
                self._kept_off[score_id] = self._kept_off.get(score_id, 0) + 1
            pauses = {score_id: pause(self._kept_off[score_id], FIRST, LONGEST) for score_id in put_off}
            queue.hold_back(session, worker, pauses)
            log("warning", "images cannot be read for want of files, memory or room; they are tried again")
        stored = queue.finish(session, worker, settled, self._destinations) if settled else []
        outbox.put(session, self._flagged(session, stored, settled) if self._receivers else (), self._receivers)
        return stored

    def _flagged(self, session: Session, stored: Sequence[int], outcomes: Mapping[int, Outcome]) -> list[int]:
        """List what the versions in use flag; of what one has learnt from its score is no evidence."""
        rates = {current.version_id: current.highest_p for current in self._models}
        chosen = select(Score.id, Score.version_id).where(Score.id.in_(stored))
        return [
            number
            for number, version_id in session.execute(chosen)
            if outcomes[number].p_value <= rates.get(version_id, 0.0) and not outcomes[number].seen_in_training
        ]

    def _score(self, claimed: Sequence[Claim], images: Sequence[Image]) -> _Done:
        start = time.perf_counter()
        outcomes = self._judge(claimed[0].version_id, images)
        seconds = (time.perf_counter() - start) / len(images)
        numbers = [row.score_id for row in claimed]
        modalities = {number: image.modality for number, image in zip(numbers, images, strict=True)}
        return _Done(dict(zip(numbers, outcomes, strict=True)), modalities, seconds)

    def _judge(self, version_id: int, images: Sequence[Image]) -> list[Outcome]:
        met = times_met()
        try:
            model = self._models.version(version_id)
        except MSDEError as error:
            log_failure("a model cannot be loaded", error)
            reason, passing = f"the model cannot be loaded: {error}", is_passing(error)
            return [Outcome(math.nan, math.nan, reason, passing=passing) for _ in images]
        listed: list[tuple[str, Sources]] = []
        for image in images:
            try:
                listed.append((image.name, self._store.sources(image)))
            except MSDEError:
                listed.append((image.name, []))
        try:
            outcomes = judge(model, listed, self._stop.is_set)
        except Stopped:
            raise
        except Exception as error:
            log_failure("a batch failed; its images are scored one by one", error)
            outcomes = [self._judge_alone(model, image) for image in listed]
        known = zip(marked(outcomes, met), images, strict=True)
        return [outcome if image.patient else replace(outcome, part_scores=()) for outcome, image in known]

    def _judge_alone(self, model: AnomalyModel, image: tuple[str, Sources]) -> Outcome:
        try:
            return judge(model, [image], self._stop.is_set)[0]
        except Stopped:
            raise
        except Exception as error:
            log_failure("an image failed", error)
            reason = f"{image[0]}: cannot be scored ({type(error).__name__}); see the log"
            return Outcome(math.nan, math.nan, reason, passing=is_passing(error))

    def _leave(self, worker: str) -> None:
        try:
            with self._database.write() as session:
                queue.give_back(session, worker)
        except SQLAlchemyError:
            log("error", "the database does not answer; leases will run out")

    def _renew(self) -> None:
        while not self._stop.wait(queue.LEASE.total_seconds() / 4):
            try:
                with self._database.write() as session:
                    for worker, at_hand in list(self._at_hand.items()):
                        queue.renew(session, worker, at_hand)
            except SQLAlchemyError as error:
                log_failure("leases could not be renewed", error)
