"""Sessions of the page: rows of the database, so that one that is ended is over, whoever has a copy of its cookie.

The table holds digests of cookies and tokens, not these themselves.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from msde.serve.storage.tables import PageSession, now

LASTS = timedelta(hours=12)
_BYTES = 32  # of a cookie


def begin(session: Session, token: str) -> str:
    """Begin a session for the token of a digest, and return its cookie; those that have run out go."""
    cookie, moment = secrets.token_urlsafe(_BYTES), now()
    session.execute(delete(PageSession).where(PageSession.until < moment))
    session.add(PageSession(cookie=_digest(cookie), token=token, until=moment + LASTS))
    return cookie


def token_of(session: Session, cookie: str) -> str | None:
    """Return the digest of the token that a session was begun with; None where it is over, or never was."""
    chosen = select(PageSession.token).where(PageSession.cookie == _digest(cookie), PageSession.until >= now())
    return session.scalar(chosen)


def end(session: Session, cookie: str) -> None:
    """End a session."""
    session.execute(delete(PageSession).where(PageSession.cookie == _digest(cookie)))


def _digest(cookie: str) -> str:
    return hashlib.sha256(cookie.encode("utf-8", "replace")).hexdigest()
