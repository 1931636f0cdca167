"""A new version of a model from what readers confirm: a proposal, with what it would change before it is used."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from threading import Event, Thread
from typing import Any, Self

import numpy as np
from sqlalchemy import ColumnElement, and_, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from msde.embedding.cache import EmbeddingCache
from msde.errors import MSDEError
from msde.evaluation.comparison import compare
from msde.images import find_images
from msde.model.anomaly_model import AnomalyModel
from msde.model.retraining import N_FOLDS, gather
from msde.model.verdicts import Verdict, Verdicts
from msde.serve.audit import record
from msde.serve.backoff import pause
from msde.serve.errors import Conflict
from msde.serve.logs import log, log_failure
from msde.serve.models import Current
from msde.serve.scoring import Stopped
from msde.serve.service import Service
from msde.serve.storage.store import SERIES
from msde.serve.storage.tables import Image, Model, Proposal, Score, Version, beyond, now
from msde.serve.storage.tables import Verdict as VerdictRow

_LISTED = 10
FOLD_STEPS = 20  # images that take as long to embed as a fold to fit, roughly
SILENT = timedelta(minutes=10)  # after which the process at it is taken for dead
_OFTEN = timedelta(seconds=1)
_LONGEST = timedelta(minutes=1)  # between tries to store what came of it
_NOT_KEPT = "embeddings cannot be kept"
ENDED = "the service ended before it was done; start it again"


@dataclass(frozen=True)
class Judged:
    """Single images that a model has scored and readers have called something.

    Parameters
    ----------
    images : mapping of str to Image
        By digest.
    verdicts : Verdicts
        By digest too.
    """

    images: Mapping[str, Image]
    verdicts: Verdicts

    @classmethod
    def of(cls, session: Session, current: Current) -> Judged:
        """Look up what a model can learn from; pictures that are kept no longer are left out."""
        chosen = (
            select(VerdictRow, Image, Version.model_id)
            .join(Image, Image.id == VerdictRow.image_id)
            .join(Score, Score.image_id == Image.id)
            .outerjoin(Version, Version.id == VerdictRow.version_id)
            .where(_scored(current), Image.suffix != SERIES, Image.purged.is_(None))
            .order_by(VerdictRow.id)
        )
        images: dict[str, Image] = {}
        given = []
        for row, image, model_id in session.execute(chosen):
            images[image.digest] = image
            p_value = row.p_value if model_id == current.model_id and row.p_value is not None else math.nan
            given.append(Verdict(image.digest, f"image {image.id}", row.verdict, row.reader, p_value))
        return cls(images, Verdicts.of(given))

    def others(self, session: Session, current: Current) -> list[float]:
        """Look up the p-values of the single images without a settled verdict, but those the model has learnt from."""
        settled = {self.images[digest].id for digest in self.verdicts.labels}
        came = select(Score.image_id, Score.p_value).where(_scored(current), Score.seen_in_training.is_(False))
        return [p for image_id, p in session.execute(came) if p is not None and image_id not in settled]

    def count(self) -> tuple[int, int]:
        """Count confirmed normal and abnormal images."""
        labels = self.verdicts.labels.values()
        return len(labels) - sum(labels), sum(labels)

    @property
    def contradicted(self) -> list[int]:
        """The numbers of the images that readers contradict each other about."""
        return [self.images[digest].id for digest in self.verdicts.contradicted]


def _scored(current: Current) -> ColumnElement[bool]:
    return and_(Score.model_id == current.model_id, Score.shown, Score.state == "scored", Score.n_parts == 1)


def lacks(service: Service, current: Current, judged: Judged) -> str | None:
    """Say what there has to be before a model can learn; None where nothing is lacking."""
    if not service.settings.normals_of(current.name):
        return (
            "the service has none of the normals that the model was fitted on; start it with --normals FOLDER of these"
        )
    normals, abnormals = judged.count()
    if abnormals < 2 or not normals:
        return (
            "at least two images called abnormal, of different patients, and one called normal are needed, so that one"
            " can be held out"
        )
    return None


def propose(service: Service, current: Current, user: str) -> None:
    """Start to learn from the verdicts, in the background; the outcome is a row of `proposals`.

    Raises
    ------
    Conflict
        If something is lacking, or the model learns already.
    """
    with service.database.read() as session:
        judged = Judged.of(session, current)
        others = judged.others(session, current)
    if lacking := lacks(service, current, judged):
        raise Conflict(lacking)
    with service.database.write() as session:
        session.scalars(select(Model).where(Model.id == current.model_id).with_for_update()).one()
        latest = latest_proposal(session, current)
        if latest is not None and state_of(latest) == "running":
            raise Conflict("the model learns from verdicts already; wait until that is done")
        row = Proposal(model_id=current.model_id, before_id=current.version_id, state="running", made_by=user)
        session.add(row)
        normals, abnormals = judged.count()
        counts = {"normals": normals, "abnormals": abnormals}
        record(session, user, "learn", model=current.name, version=current.number, **counts)
        session.flush()
        number = row.id
    Thread(target=_work, args=(service, current, user, number, judged, others), name="msde-learn", daemon=True).start()


def latest_proposal(session: Session, current: Current) -> Proposal | None:
    """Find the latest proposal of a model."""
    chosen = select(Proposal).where(Proposal.model_id == current.model_id).order_by(Proposal.id.desc())
    return session.scalars(chosen.limit(1)).one_or_none()


def state_of(proposal: Proposal) -> str:
    """Return the state of a proposal; of one whose process has given no sign for long, "failed"."""
    silent = not now() - SILENT < proposal.sign < beyond(SILENT)
    return "failed" if proposal.state == "running" and silent else proposal.state


def give_up_all(session: Session) -> None:
    """Note at the start, before all processes, that what was under way has ended."""
    under_way = update(Proposal).where(Proposal.state == "running")
    session.execute(under_way.values(state="failed", error=ENDED))


def _work(service: Service, current: Current, user: str, number: int, judged: Judged, others: Sequence[float]) -> None:
    """Learn, and store what came of it."""
    failed: dict[str, Any] = {"state": "failed"}
    try:
        with _Progress(service, number) as progress:
            _learn(service, current, user, number, judged, others, progress)
            return
    except Stopped:
        failed["error"] = ENDED
    except MSDEError as error:
        failed["error"] = str(error)
    except Exception as error:
        log_failure("learning from verdicts failed", error)
        failed["error"] = f"could not be finished ({type(error).__name__}); see the log"

    def store(session: Session) -> None:
        record(session, user, "learnt", model=current.name, version=None)
        session.execute(update(Proposal).where(Proposal.id == number).values(progress=1.0, **failed))

    with suppress(Stopped):  # the next start notes it
        _persist(service, store)


def _learn(
    service: Service,
    current: Current,
    user: str,
    number: int,
    judged: Judged,
    others: Sequence[float],
    progress: _Progress,
) -> None:
    """Make the version and compare it with the one before; the version, the proposal and the record are stored as one.

    Errors call images by their numbers, because a folder's name may tell who a patient is.
    """
    files = {digest: service.store.path(digest, image.suffix) for digest, image in judged.images.items()}
    labels = {files[digest]: label for digest, label in sorted(judged.verdicts.labels.items())}
    of_files = {str(path): judged.images[digest].id for digest, path in files.items()}
    looked_at = {str(files[digest]): p_value for digest, p_value in judged.verdicts.p_values.items()}
    abnormal = service.settings.abnormal_of(current.name)
    normals = find_images(service.settings.normals_of(current.name))
    labelled = find_images(abnormal) if abnormal else []
    called = {path: f"image {image}" for path, image in of_files.items()}
    called |= {str(source): f"normal {place}" for place, source in enumerate(normals, 1)}
    called |= {str(source): f"labelled image {place}" for place, source in enumerate(labelled, 1)}
    progress.of(len(normals) + len(labelled) + len(labels) + (N_FOLDS + 1) * FOLD_STEPS)
    kept = EmbeddingCache(service.settings.folder / "normals", warn=lambda _line: log("warning", _NOT_KEPT))
    figures: dict[str, Any] = {}

    def change(model: AnomalyModel) -> tuple[AnomalyModel, str]:
        retraining = gather(model, normals, labels, abnormal=labelled or None, tick=progress.step, kept=kept)
        fitted, report = retraining.fit()
        progress.step(FOLD_STEPS)
        comparison = compare(retraining, looked_at, np.array(others), current.alpha, lambda: progress.step(FOLD_STEPS))
        figures.update(comparison.figures(lambda row: of_files[comparison.names[row]]))
        unreadable = [f"cannot be learnt from: {error}" for error in retraining.unreadable]
        notes = [*figures["notes"], *retraining.notes, *report.notes, *unreadable[:_LISTED]]
        figures["notes"] = [_renamed(note, called) for note in notes]
        counts = f"{figures['n_abnormal']} abnormal and {figures['n_normal']} normal images by verdicts"
        return AnomalyModel.of(fitted, model.session), f"learnt from version {current.number} and {counts}"

    try:
        made = service.models.make(current, change)
    except MSDEError as error:
        raise MSDEError(_renamed(str(error), called)) from None
    figures["contradicted"], figures["unsure"] = judged.contradicted, judged.verdicts.n_unsure

    def store(session: Session) -> None:
        version = session.get_one(Version, service.models.add(session, current, made, user))
        record(session, user, "learnt", model=current.name, version=version.number)
        values = {"state": "ready", "version_id": version.id, "figures": figures, "progress": 1.0}
        session.execute(update(Proposal).where(Proposal.id == number).values(values))

    _persist(service, store)


def _persist(service: Service, store: Callable[[Session], None]) -> None:
    """Store something that took long to compute: a database that is away for a time does not lose it.

    Raises
    ------
    Stopped
        If the service stops before.
    """
    for failures in count(1):
        try:
            with service.database.write() as session:
                store(session)
            return
        except SQLAlchemyError as error:
            log_failure("what was learnt from verdicts could not be stored; it is tried again", error)
        if service.stopping.wait(pause(failures, _OFTEN, _LONGEST).total_seconds()):
            raise Stopped


def _renamed(text: str, names: Mapping[str, str]) -> str:
    """Put what images are called in the place of where they are kept."""
    for path in sorted(names, key=len, reverse=True):  # a path may begin with another
        text = text.replace(path, names[path])
    return text


class _Progress:
    """Tells how far the job is and that it is alive, however long a step takes; breaks it off where the service stops.

    Used as a context, in which a thread of its own tells.
    """

    def __init__(self, service: Service, number: int) -> None:
        self._service, self._number = service, number
        self._done, self._steps = 0, 1
        self._ended = Event()
        self._teller = Thread(target=self._tell, name="msde-learn-progress", daemon=True)

    def __enter__(self) -> Self:
        self._teller.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._teller.join()

    def of(self, steps: int) -> None:
        """Set how many steps there are."""
        self._steps = steps

    def step(self, steps: int = 1) -> None:
        """Count steps.

        Raises
        ------
        Stopped
            If the service stops.
        """
        if self._service.stopping.is_set():
            raise Stopped
        self._done += steps

    def _tell(self) -> None:
        while not self._ended.wait(_OFTEN.total_seconds()):
            values = {"sign": now(), "progress": min(self._done / self._steps, 1.0)}
            try:
                with self._service.database.write() as session:
                    session.execute(update(Proposal).where(Proposal.id == self._number).values(values))
            except SQLAlchemyError as error:
                log_failure("the progress of learning from verdicts could not be noted", error)
