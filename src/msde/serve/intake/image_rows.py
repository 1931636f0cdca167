"""Rows for what has arrived: uploads that come at the same time share one transaction, and one wait for the disk."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Lock

from sqlalchemy import select
from sqlalchemy.orm import Session

from msde.serve.errors import Busy
from msde.serve.intake.uploads import Kept
from msde.serve.models import Current
from msde.serve.storage import queue
from msde.serve.storage.database import Database
from msde.serve.storage.store import Store
from msde.serve.storage.tables import Image, now

_MOMENT = 0.2  # seconds


@dataclass(frozen=True)
class ReceivedImage:
    """An image that is kept.

    Parameters
    ----------
    id : int
    name : str
    known : bool
        Whether it was before.
    """

    id: int
    name: str
    known: bool


@dataclass(frozen=True, eq=False)
class Entry:
    """What is to be entered together.

    Parameters
    ----------
    kept : tuple of Kept
    origin : str
    models : tuple of Current
        That are to score it.
    """

    kept: tuple[Kept, ...]
    origin: str
    models: tuple[Current, ...]
    done: Future[list[ReceivedImage]] = field(default_factory=Future)


class ImageRows:
    """Enters uploads into the database.

    Parameters
    ----------
    database : Database
    store : Store
    limit : int
        Images that may wait.
    """

    def __init__(self, database: Database, store: Store, limit: int) -> None:
        self._database, self._store, self._limit = database, store, limit
        self._waiting: list[Entry] = []
        self._depth, self._counted = 0, -1.0
        self._list = Lock()
        self._turn = Lock()

    def check_room(self) -> None:
        """Refuse early, before a body is read, by what was counted a moment ago.

        Raises
        ------
        Busy
            The queue is full.
        """
        if time.monotonic() - self._counted > _MOMENT:
            with self._database.read() as session:
                self._depth, self._counted = queue.depth(session), time.monotonic()
        if self._depth >= self._limit:
            raise queue.full(self._depth)

    def enter(self, entry: Entry) -> list[ReceivedImage]:
        """Enter an upload; it is in the database when this returns.

        Raises
        ------
        Busy
            The queue is full.
        """
        with self._list:
            self._waiting.append(entry)
        with self._turn:  # whose turn comes does the work of all who wait
            if not entry.done.done():
                with self._list:
                    entries, self._waiting = self._waiting, []
                self._enter(entries)
        return entry.done.result()

    def _enter(self, entries: Sequence[Entry]) -> None:
        try:
            with self._database.write() as session:
                waiting = queue.depth(session)
                taken: list[Entry] = []
                for entry in entries:
                    if waiting >= self._limit:
                        entry.done.set_exception(queue.full(waiting))
                    else:
                        taken.append(entry)
                        waiting += len(entry.kept) * len(entry.models)
                results = self._rows(session, taken)
            self._depth, self._counted = waiting, time.monotonic()
        except BaseException as error:
            for entry in entries:
                if not entry.done.done():
                    entry.done.set_exception(error)
            return
        for entry in taken:
            found = [results[kept.digest] for kept in entry.kept]
            if all(self._store.path(kept.digest, kept.suffix).exists() for kept in entry.kept):
                entry.done.set_result(
                    [ReceivedImage(n, kept.name, known) for kept, (n, known) in zip(entry.kept, found, strict=True)]
                )
            else:
                entry.done.set_exception(Busy("the same image is being deleted; send it again", retry_after=1))

    def _rows(self, session: Session, entries: Sequence[Entry]) -> dict[str, tuple[int, bool]]:
        """Find or make rows; give the number of each digest, and whether it was there."""
        moment = now()
        values = {
            kept.digest: {
                "digest": kept.digest,
                "suffix": kept.suffix,
                "name": kept.name,
                "format": kept.format,
                "modality": kept.modality,
                "origin": entry.origin,
                "arrived": moment,
            }
            for entry in entries
            for kept in entry.kept
        }
        if not values:
            return {}
        table = Image.__table__.c
        insert = self._database.insert(Image.__table__).on_conflict_do_nothing().returning(table.digest, table.id)
        made = session.connection().execute(insert, list(values.values()))
        found = {digest: (number, False) for digest, number in made}
        if len(found) < len(values):
            known = select(Image.digest, Image.id).where(Image.digest.in_(values.keys() - found.keys()))
            found |= {digest: (number, True) for digest, number in session.execute(known)}
        wanted = [
            (found[kept.digest][0], current.model_id, current.version_id)
            for entry in entries
            for kept in entry.kept
            for current in entry.models
        ]
        queue.put(self._database, session, wanted, {number for number, known in found.values() if not known})
        return found
