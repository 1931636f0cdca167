"""Results to send elsewhere: tried again with growing pauses, and put aside after too many attempts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from msde.serve.backoff import pause
from msde.serve.storage.tables import Outgoing, beyond, now

ATTEMPTS = 12
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=1)


def put(session: Session, score_ids: Iterable[int], destinations: Sequence[str]) -> None:
    """Put results into the outbox, in the transaction that stores them."""
    session.add_all(Outgoing(score_id=number, destination=name) for number in score_ids for name in destinations)


def due(session: Session, limit: int = 20, destination: str | None = None) -> Sequence[Outgoing]:
    """List what is to be sent now, the longest due first; with PostgreSQL others do not see it until the session ends.

    Parameters
    ----------
    session : Session
        Of `Database.write`, held until the rows are marked, or short if one process alone sends.
    limit : int, default=20
    destination : str, optional
        By default what goes to any.
    """
    ended = or_(Outgoing.next_try <= now(), Outgoing.next_try > latest())
    waiting = select(Outgoing).where(Outgoing.state == "waiting", ended)
    if destination is not None:
        waiting = waiting.where(Outgoing.destination == destination)
    return session.scalars(
        waiting.order_by(Outgoing.next_try, Outgoing.id).limit(limit).with_for_update(skip_locked=True)
    ).all()


def latest() -> datetime:
    """Return after when no pause ends that was not begun before the clock was put back."""
    return beyond(LONGEST_PAUSE)


def sent(session: Session, row: Outgoing) -> None:
    """Mark a row as sent."""
    row = session.get_one(Outgoing, row.id, populate_existing=True)
    row.state, row.sent, row.error = "sent", now(), None
    row.attempts += 1


def failed(session: Session, row: Outgoing, reason: str, *, for_good: bool = False) -> None:
    """Mark an attempt as failed.

    Parameters
    ----------
    session : Session
    row : Outgoing
    reason : str
        Without identifiers.
    for_good : bool, default=False
        Whether another attempt would fail too.
    """
    row = session.get_one(Outgoing, row.id, populate_existing=True)
    row.attempts += 1
    row.error = reason
    row.next_try = now() + pause(row.attempts, FIRST_PAUSE, LONGEST_PAUSE)
    if for_good or row.attempts >= ATTEMPTS:
        row.state = "dead"
