"""The queue: rows of the table `scores`, each step of which is in one transaction.

From queued to running to scored, failed, or unsuited, where the version is not for the image.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Update, and_, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from msde.serve.errors import Busy
from msde.serve.storage import outbox
from msde.serve.storage.database import Database
from msde.serve.storage.tables import Image, Score, beyond, now

LEASE = timedelta(seconds=60)
ATTEMPTS = 5
WAITING = ("queued", "running")
_PLAIN = {"synchronize_session": False}


@dataclass(frozen=True)
class Outcome:
    """What a version says of an image.

    Parameters
    ----------
    anomaly_score, p_value : float
        NaN where there is none.
    error : str or None
        Why the image could not be used.
    n_parts : int
        Slices of a volume; 1 for an image.
    top_parts : list of [int, float, float or None]
        Number, score and p-value of a volume's highest slices, the highest first.
    seen_in_training : bool
        Whether the model was fitted on it, or on a slice of it.
    evidence : str or None
        What spoke for the score, in words, of a model that learnt from labels.
    part_scores : tuple of float
        Of all parts of a volume whose patient is known.
    suited : bool
        Whether the image is of a kind that the version is for; otherwise the error says why not.
    passing : bool
        Whether the error is the machine's, such as a full disk, and the image is to be tried again.
    """

    anomaly_score: float
    p_value: float
    error: str | None
    n_parts: int = 1
    top_parts: tuple[tuple[int, float, float | None], ...] = ()
    seen_in_training: bool = False
    evidence: str | None = None
    part_scores: tuple[float, ...] = ()
    suited: bool = True
    passing: bool = False

    @property
    def state(self) -> str:
        """The state of the score."""
        return "scored" if self.error is None else "failed" if self.suited else "unsuited"


_SPENT = Outcome(math.nan, math.nan, "ended the service five times; look into the file")


class Claim(NamedTuple):
    """An image that a worker has taken."""

    score_id: int
    image_id: int
    version_id: int


def depth(session: Session) -> int:
    """Count what waits or runs."""
    return session.scalar(select(func.count()).select_from(Score).where(Score.state.in_(WAITING))) or 0


def full(waiting: int) -> Busy:
    """Return the refusal of a full queue."""
    return Busy(
        f"the queue is full ({waiting} images wait); send the same again after the seconds of Retry-After",
        retry_after=min(30, max(1, waiting // 200)),
    )


def put(database: Database, session: Session, wanted: Iterable[tuple[int, int, int]], new: Container[int] = ()) -> int:
    """Queue images for versions, unless they were before.

    Parameters
    ----------
    database : Database
    session : Session
    wanted : iterable of (image_id, model_id, version_id)
    new : container of int
        Images that no version can have seen.

    Returns
    -------
    int
        How many were not queued before.
    """
    fixed = {"shown": True, "state": "queued", "n_parts": 1, "seen_in_training": False}
    rows = [{"image_id": i, "model_id": m, "version_id": v, **fixed} for i, m, v in dict.fromkeys(wanted)]
    if not rows:
        return 0
    table = Score.__table__.c
    insert = (
        database.insert(Score.__table__).on_conflict_do_nothing().returning(table.id, table.image_id, table.model_id)
    )
    added = session.connection().execute(insert, rows).all()
    for number, image_id, model_id in added:
        if image_id not in new:
            older = and_(Score.image_id == image_id, Score.model_id == model_id, Score.id != number, Score.shown)
            session.execute(update(Score).where(older).values(shown=False), execution_options=_PLAIN)
    return len(added)


def prefer(session: Session, model_id: int, version_id: int) -> None:
    """Show in the worklist what a version says of the images that it has scored."""
    scored = aliased(Score)
    has = select(scored.image_id).where(scored.version_id == version_id)
    others = and_(Score.model_id == model_id, Score.version_id != version_id, Score.image_id.in_(has))
    session.execute(update(Score).where(others).values(shown=False), execution_options=_PLAIN)
    session.execute(update(Score).where(Score.version_id == version_id).values(shown=True), execution_options=_PLAIN)


def claim(session: Session, worker: str, limit: int) -> list[Claim]:
    """Take what has waited longest, or whose worker let its lease run out.

    What was begun before and not given back may be what ended its worker: it is taken alone, and fails in the end. What
    this worker still holds goes back first: it could neither be stored nor given back when it was at hand.

    Returns
    -------
    list of Claim
        At most `limit`, all of one version.
    """
    give_back(session, worker)
    # A lease ends, and so does the time for which `hold_back` puts off what is queued. What would last longer than a
    # lease was given before the clock was put back.
    ended = or_(Score.leased.is_(None), Score.leased < now(), Score.leased > beyond(LEASE))
    free = and_(Score.state.in_(WAITING), ended)
    wanted = select(Score.id, Score.image_id, Score.version_id, Score.attempts).where(free).order_by(Score.id)
    found = session.execute(wanted.limit(limit).with_for_update(skip_locked=True)).all()
    if spent := [row.id for row in found if row.attempts >= ATTEMPTS]:
        session.execute(_these(spent).values(_values(_SPENT)), execution_options=_PLAIN)
    left = [row for row in found if row.attempts < ATTEMPTS]
    rows = [Claim(*row[:3]) for row in left[:1]]
    if rows and not left[0].attempts:
        rows = [Claim(*row[:3]) for row in left if (row.version_id, row.attempts) == (rows[0].version_id, 0)]
    if rows:
        mine = {"state": "running", "worker": worker, "leased": now() + LEASE, "attempts": Score.attempts + 1}
        session.execute(_these([row.score_id for row in rows]).values(mine), execution_options=_PLAIN)
    return rows


def finish(
    session: Session, worker: str, outcomes: Mapping[int, Outcome], destinations: Iterable[str] = ()
) -> list[int]:
    """Store results by score_id, each once, and put those of DICOM images into the outbox.

    Returns
    -------
    list of int
        Those stored; others are no longer this worker's.
    """
    mine = select(Score.id).where(Score.id.in_(list(outcomes)), _of(worker)).with_for_update()
    stored = list(session.scalars(mine))
    if stored:
        session.execute(update(Score), [{"id": score_id, **_values(outcomes[score_id])} for score_id in stored])
    names = list(destinations)
    good = [score_id for score_id in stored if outcomes[score_id].error is None]
    if names and good:
        dicom = select(Score.id).join(Image, Image.id == Score.image_id).where(Score.id.in_(good))
        outbox.put(session, session.scalars(dicom.where(Image.format == "DICOM")).all(), names)
    return stored


def _values(outcome: Outcome) -> dict[str, Any]:
    return {
        "state": outcome.state,
        "worker": None,
        "leased": None,
        "scored": now(),
        "anomaly_score": _number(outcome.anomaly_score),
        "p_value": _number(outcome.p_value),
        "error": outcome.error,
        "n_parts": outcome.n_parts,
        "top_parts": [list(part) for part in outcome.top_parts] or None,
        "seen_in_training": outcome.seen_in_training,
        "evidence": outcome.evidence,
        "part_scores": outcome.part_scores or None,
    }


def renew(session: Session, worker: str, at_hand: Collection[int]) -> None:
    """Prolong the leases of what a worker is at work on; what else it holds goes to others when its lease ends."""
    mine = update(Score).where(_of(worker), Score.id.in_(at_hand))
    session.execute(mine.values(leased=now() + LEASE), execution_options=_PLAIN)


def give_back(session: Session, worker: str | None = None) -> int:
    """Queue again what a worker leaves undone or, without one, what ended all there were; count it."""
    values: dict[str, Any] = {"state": "queued", "worker": None, "leased": None}
    if worker is None:
        mine = Score.state == "running"
    else:
        mine = _of(worker)
        values["attempts"] = Score.attempts - 1
    result: Any = session.execute(update(Score).where(mine).values(values), execution_options=_PLAIN)
    return int(result.rowcount)


def hold_back(session: Session, worker: str, pauses: Mapping[int, timedelta]) -> None:
    """Queue again, by score_id and for how long not to be taken, what the state of the machine kept from being scored.

    It is no fault of the image, so it does not count as an attempt.
    """
    for score_id, pause in pauses.items():
        mine = update(Score).where(Score.id == score_id, _of(worker))
        values = {"state": "queued", "worker": None, "leased": now() + pause, "attempts": Score.attempts - 1}
        session.execute(mine.values(values), execution_options=_PLAIN)


def retry(session: Session, version_id: int) -> int:
    """Queue again what a version could not score; count it."""
    there = select(Image.id).where(Image.purged.is_(None))
    failed = update(Score).where(Score.version_id == version_id, Score.state == "failed", Score.image_id.in_(there))
    values = {"state": "queued", "error": None, "scored": None, "attempts": 0}
    result: Any = session.execute(failed.values(values), execution_options=_PLAIN)
    return int(result.rowcount)


def _these(numbers: list[int]) -> Update:
    return update(Score).where(Score.id.in_(numbers))


def _of(worker: str) -> ColumnElement[bool]:
    return and_(Score.state == "running", Score.worker == worker)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
