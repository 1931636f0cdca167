"""Images that go: their bytes at once, and in every process what is remembered of them."""

from __future__ import annotations

import time
from datetime import timedelta
from threading import Lock

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from msde.images import forget
from msde.serve.audit import record
from msde.serve.errors import Conflict, NotFound
from msde.serve.recent import RecentEmbeddings
from msde.serve.storage.database import Database
from msde.serve.storage.store import Store
from msde.serve.storage.tables import Audit, Image, Score, SealedIdentifiers, now

_GONE = ("delete", "purge")  # actions on record
_UNDER_WAY = 120.0  # seconds that a look at an image takes at most
_FEW = 100  # images that are forgotten one by one
_UNSCORED = "its picture was removed before it was scored; send it again"


def remove(database: Database, store: Store, image_id: int, user: str) -> None:
    """Remove an image with its scores and verdicts; the audit log stays.

    Raises
    ------
    NotFound
    Conflict
        It is being scored.
    """
    with database.write() as session:
        image = session.scalars(select(Image).where(Image.id == image_id).with_for_update()).one_or_none()
        if image is None:
            raise NotFound(f"there is no image {image_id}")
        if _is_at_work(session, image_id):
            raise Conflict(f"image {image_id} is being scored; try again in a moment")
        record(session, user, "delete", image_id, digest=image.digest)
        session.execute(delete(Image).where(Image.id == image_id))
        # Before the rows go for good: a file without a row would stay unnoticed, a row without a file tells of itself.
        store.remove(image.digest, image.suffix)


def purge(database: Database, store: Store, keep: timedelta, user: str) -> int:
    """Remove bytes, names and what tells the patient of the images that came longer ago; scores and verdicts stay.

    What is being scored is left to the next time.

    Parameters
    ----------
    database : Database
    store : Store
    keep : timedelta
    user : str
        Who asks for it, for the audit log.

    Returns
    -------
    int
        How many images.
    """
    due = select(Image.id).where(Image.purged.is_(None), Image.arrived < now() - keep).order_by(Image.id)
    with database.read() as session:
        numbers = session.scalars(due).all()
    return sum(_purge(database, store, number, user) for number in numbers)


def _purge(database: Database, store: Store, image_id: int, user: str) -> bool:
    with database.write() as session:
        chosen = select(Image).where(Image.id == image_id, Image.purged.is_(None))
        image = session.scalars(chosen.with_for_update()).one_or_none()
        if image is None or _is_at_work(session, image_id):
            return False
        named, image.name, image.purged = image.name, f"image {image_id}", now()
        image.patient = image.study = image.series = None
        session.execute(delete(SealedIdentifiers).where(SealedIdentifiers.image_id == image_id))
        for score in session.scalars(select(Score).where(Score.image_id == image_id, Score.error.is_not(None))):
            score.error = (score.error or "").replace(named, image.name)
        unscored = update(Score).where(Score.image_id == image_id, Score.state == "queued")
        session.execute(unscored.values(state="failed", error=f"{image.name}: {_UNSCORED}", scored=now()))
        record(session, user, "purge", image_id, digest=image.digest)
        store.remove(image.digest, image.suffix)
    return True


def _is_at_work(session: Session, image_id: int) -> bool:
    running = select(Score.id).where(Score.image_id == image_id, Score.state == "running")
    return session.scalars(running).first() is not None


class Forgetting:
    """Lets go, in this process, of what is remembered of images that were removed in any; empties SQLite's journal.

    Parameters
    ----------
    database : Database
    store : Store
    recent : RecentEmbeddings
    """

    def __init__(self, database: Database, store: Store, recent: RecentEmbeddings) -> None:
        self._database, self._store, self._recent = database, store, recent
        self._seen: int | None = None
        self._gone: dict[str, float] = {}  # until when what was read of one, when it went, may still come in
        self._journal = True  # whether something that was removed may stand in it, from before the start too
        self._lock = Lock()

    def look(self) -> None:
        """Look for images that were removed since the last time."""
        self._recent.expire()
        with self._lock:
            with self._database.read() as session:
                latest = session.scalar(select(func.max(Audit.id))) or 0
                since = select(Audit.detail).where(Audit.id > (self._seen or 0), Audit.action.in_(_GONE))
                gone = [] if self._seen is None else [str(detail["digest"]) for detail in session.scalars(since)]
            moment = time.monotonic()
            self._gone = {digest: until for digest, until in self._gone.items() if until > moment}
            self._gone |= dict.fromkeys(gone, moment + _UNDER_WAY)
            few = [self._store.path(digest, "") for digest in self._gone]
            for beginning in few if len(few) <= _FEW else [self._store.images]:
                forget(beginning)
            if gone:
                self._recent.clear()
            self._seen, self._journal = latest, self._journal or bool(gone)
            if self._journal:
                self._journal = not self._database.empty_journal()
