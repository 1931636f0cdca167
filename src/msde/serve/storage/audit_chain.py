"""The audit log as a chain: each line carries a digest of what it says and of the digest of the line before.

So a line that is altered, put in or taken out breaks the chain from there on. Only lines taken off the end leave no
gap, which a digest that was noted elsewhere shows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from msde.errors import DataError
from msde.serve.storage.tables import Audit, now

BEGINNING = "0" * 64
"""What stands before the first line."""
_PENDING = "audit"
_LOCK = 0x4D534445  # of PostgreSQL, any number that nobody else takes
_AT_ONCE = 1000


@dataclass(frozen=True)
class Chain:
    """An unbroken chain.

    Parameters
    ----------
    lines : int
    digest : str
        Of its last line.
    """

    lines: int
    digest: str


def add(session: Session, user: str, action: str, image_id: int | None, detail: dict[str, Any]) -> None:
    """Add a line at the end of the session's transaction."""
    row = Audit(at=now(), user=user, action=action, image_id=image_id, detail=detail)
    session.info.setdefault(_PENDING, []).append(row)


def close(session: Session) -> None:
    """Write what was added.

    It is the last step of a transaction, because from here to its end one at a time may go on.
    """
    rows: list[Audit] = session.info.pop(_PENDING, [])
    if not rows:
        return
    session.flush()
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    before = session.scalar(select(Audit.digest).order_by(Audit.id.desc()).limit(1)) or BEGINNING
    for row in rows:
        before = row.digest = digest(before, row.at, row.user, row.action, row.image_id, row.detail)
    session.add_all(rows)
    session.flush()


def digest(before: str, at: datetime, user: str, action: str, image_id: int | None, detail: dict[str, Any]) -> str:
    """Compute the digest of a line; times without a zone are UTC."""
    moment = (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC).isoformat(timespec="microseconds")
    line = json.dumps([before, moment, user, action, image_id, detail], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(line.encode("ascii")).hexdigest()


def verify(session: Session, noted: str | None = None) -> Chain:
    """Check the audit log.

    Parameters
    ----------
    session : Session
    noted : str, optional
        Digest of a line as it was noted at an earlier time.

    Returns
    -------
    Chain

    Raises
    ------
    DataError
        If it is broken, or has no line with the digest noted.
    """
    lines, before, found = 0, BEGINNING, noted in (None, BEGINNING)
    for row in _rows(session):
        lines += 1
        if row.digest != digest(before, row.at, row.user, row.action, row.image_id, row.detail):
            raise DataError(
                f"the audit log is broken at its line {lines:,} (number {row.id}, of {row.at:%Y-%m-%d %H:%M:%S} UTC):"
                " that line was altered, or one was put in or taken out before it; compare with a backup"
            )
        before = row.digest
        found = found or before == noted
    if not found:
        raise DataError(
            f"the audit log has no line with the digest noted; of its {lines:,} lines some were taken off the end, or"
            " all were written anew; compare with a backup"
        )
    return Chain(lines, before)


def head(session: Session) -> str:
    """Return the digest of the last line."""
    return session.scalar(select(Audit.digest).order_by(Audit.id.desc()).limit(1)) or BEGINNING


def _rows(session: Session) -> Iterable[Audit]:
    last: int = -1
    while rows := session.scalars(select(Audit).where(Audit.id > last).order_by(Audit.id).limit(_AT_ONCE)).all():
        yield from rows
        last = rows[-1].id
        session.expunge_all()
