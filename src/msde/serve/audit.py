"""The record of who saw and decided what."""

from __future__ import annotations

import math
import time
from threading import Lock
from typing import Any

from sqlalchemy.orm import Session

from msde.serve.storage.database import Database
from msde.serve.storage.tables import Audit

_AGAIN = 60.0  # seconds within which the parts of one view are one view
_REMEMBERED = 10_000


def record(session: Session, user: str, action: str, image_id: int | None = None, **detail: Any) -> None:
    """Store what somebody did, in the transaction in which it is done."""
    session.add(Audit(user=user, action=action, image_id=image_id, detail=detail))


class Views:
    """Records who looked at what; picture, overlay and figures of an image within a minute are one view.

    Parameters
    ----------
    database : Database
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._latest: dict[tuple[str, str, int | None], float] = {}
        self._lock = Lock()

    def note(self, user: str, action: str, image_id: int | None = None) -> None:
        """Store a view before it is answered."""
        key, moment = (user, action, image_id), time.monotonic()
        with self._lock:  # held while it is written, so that nothing of the same view is answered before
            if moment - self._latest.get(key, -math.inf) <= _AGAIN:
                return
            with self._database.write() as session:
                record(session, user, action, image_id)
            self._latest.pop(key, None)
            self._latest[key] = moment  # the last is the latest
            if len(self._latest) > _REMEMBERED:
                self._latest.pop(next(iter(self._latest)))
