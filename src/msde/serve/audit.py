"""The record of who sent, saw and decided what, and of what was refused."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from threading import Lock
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from msde.serve.logs import log_failure
from msde.serve.storage import audit_chain
from msde.serve.storage.database import Database

SERVICE = "msde"
"""Who does what nobody asked for at that moment."""
_AGAIN = 60.0  # seconds within which the parts of one view are one view, and refusals of one kind are counted together
_REMEMBERED = 10_000
_KINDS = 1_000  # of refusals that are told apart at a time
_Key = tuple[str, str, tuple[tuple[str, Any], ...]]


def record(session: Session, user: str, action: str, image_id: int | None = None, **detail: Any) -> None:
    """Store what somebody did, in the transaction in which it is done."""
    audit_chain.add(session, user, action, image_id, detail)


class Views:
    """Records who looked at what; picture, overlay and figures of an image within a minute are one view.

    Parameters
    ----------
    database : Database
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._latest: dict[tuple[int | None, _Key], float] = {}
        self._lock = Lock()

    def note(self, user: str, action: str, image_id: int | None = None, **detail: Any) -> None:
        """Store a view before it is answered."""
        key, moment = (image_id, _key(user, action, detail)), time.monotonic()
        with self._lock:  # held while it is written, so that nothing of the same view is answered before
            if moment - self._latest.get(key, -math.inf) <= _AGAIN:
                return
            with self._database.write() as session:
                record(session, user, action, image_id, **detail)
            self._latest.pop(key, None)
            self._latest[key] = moment  # the last is the latest
            while len(self._latest) > _REMEMBERED or moment - next(iter(self._latest.values())) > _AGAIN:
                self._latest.pop(next(iter(self._latest)))


@dataclass
class _Kind:
    """Refusals of one kind: when a line was last written of them, and how many came since."""

    told: float
    held: int = 0


class Refusals:
    """Records what was refused, a line a minute for each kind, with how many there were, so that no flood fills it.

    Parameters
    ----------
    database : Database
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kinds: dict[_Key, _Kind] = {}
        self._lock = Lock()

    def note(self, user: str, action: str, **detail: Any) -> None:
        """Store a refusal, or count it for `flush` to store; a database away is logged and no error."""
        key = _key(user, action, detail)
        with self._lock:
            if key not in self._kinds and len(self._kinds) >= _KINDS:
                key = _key("", action, {})
            kind = self._kinds.get(key)
            if kind is not None:
                kind.held += 1
                return
            self._kinds[key] = _Kind(time.monotonic())
        self._write([(key, 1)])

    def flush(self, after: float = _AGAIN) -> None:
        """Store what was counted of the kinds of which no line was written for so many seconds."""
        moment = time.monotonic()
        with self._lock:
            due = [(key, kind) for key, kind in self._kinds.items() if moment - kind.told >= after]
            for key, kind in due:
                if kind.held:
                    self._kinds[key] = _Kind(moment)
                else:
                    del self._kinds[key]
        self._write([(key, kind.held) for key, kind in due if kind.held])

    def _write(self, counted: list[tuple[_Key, int]]) -> None:
        if not counted:
            return
        try:
            with self._database.write() as session:
                for (user, action, detail), times in counted:
                    record(session, user, action, times=times, **dict(detail))
        except SQLAlchemyError as error:
            log_failure("refusals could not be recorded", error)


def _key(user: str, action: str, detail: dict[str, Any]) -> _Key:
    return user, action, tuple(sorted(detail.items()))
