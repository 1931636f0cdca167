"""Rows for what has arrived: uploads that come at the same time share one transaction, and one wait for the disk."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from threading import Lock

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from msde.images.formats import DICOM
from msde.serve.audit import record
from msde.serve.errors import Busy
from msde.serve.intake.headers import OF_HEADER, HeaderFacts, Headers
from msde.serve.intake.uploads import Kept
from msde.serve.models import Current
from msde.serve.storage import queue, sealed
from msde.serve.storage.database import Database
from msde.serve.storage.store import Store
from msde.serve.storage.tables import Image, Score, now

_MOMENT = 0.2  # seconds
_ORIGIN = 200  # characters


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


@dataclass(frozen=True)
class Sender:
    """Who brings images in, and whence.

    Parameters
    ----------
    origin : str
        The way: "rest", "stow", "dimse:TITLE" or "poll:NAME".
    user : str
        By default the way, where it has no users.
    address : str
        That the images come from; empty where they were fetched.
    """

    origin: str
    user: str = ""
    address: str = ""


@dataclass(frozen=True, eq=False)
class Batch:
    """What one upload brings in.

    Parameters
    ----------
    kept : tuple of Kept
    sender : Sender
    models : tuple of Current
        That are to score it.
    headers : mapping of str to HeaderFacts
        Of DICOM images, by their digests.
    """

    kept: tuple[Kept, ...]
    sender: Sender
    models: tuple[Current, ...]
    headers: Mapping[str, HeaderFacts] = field(default_factory=dict)
    done: Future[list[ReceivedImage]] = field(default_factory=Future)


class ImageRows:
    """Enters uploads into the database.

    Parameters
    ----------
    database : Database
    store : Store
    limit : int
        Images that may wait.
    headers : Headers
    """

    def __init__(self, database: Database, store: Store, limit: int, headers: Headers) -> None:
        self._database, self._store, self._limit, self._headers = database, store, limit, headers
        self._waiting: list[Batch] = []
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

    def enter(self, batch: Batch) -> list[ReceivedImage]:
        """Enter an upload; it is in the database when this returns.

        Raises
        ------
        Busy
            The queue is full.
        """
        dicom = (kept for kept in batch.kept if kept.format == DICOM.name)
        headers = {
            kept.digest: self._headers.facts(self._store.path(kept.digest, kept.suffix), kept.digest) for kept in dicom
        }
        batch = replace(batch, headers=headers)
        with self._list:
            self._waiting.append(batch)
        with self._turn:  # whose turn comes does the work of all who wait
            if not batch.done.done():
                with self._list:
                    batches, self._waiting = self._waiting, []
                self._enter(batches)
        return batch.done.result()

    def forget_failed(self, digest: str, sender: Sender) -> None:
        """Remove an image that no model could score, because another has come in its place; not one with a verdict."""
        with self._database.write() as session:
            chosen = select(Image).where(Image.digest == digest, Image.verdict.is_(None)).with_for_update()
            image = session.scalars(chosen).one_or_none()
            if image is None:
                return
            states = session.scalars(select(Score.state).where(Score.image_id == image.id))
            if set(states) <= {"failed"}:
                record(session, sender.user or sender.origin, "replace", image.id, digest=digest)
                session.execute(delete(Image).where(Image.id == image.id))
                self._store.remove(image.digest, image.suffix)

    def _enter(self, batches: Sequence[Batch]) -> None:
        try:
            with self._database.write() as session:
                waiting = queue.depth(session)
                taken: list[Batch] = []
                for batch in batches:
                    if waiting >= self._limit:
                        batch.done.set_exception(queue.full(waiting))
                    else:
                        taken.append(batch)
                        waiting += len(batch.kept) * len(batch.models)
                results = self._rows(session, taken)
            self._depth, self._counted = waiting, time.monotonic()
        except BaseException as error:
            for batch in batches:
                if not batch.done.done():
                    batch.done.set_exception(error)
            return
        for batch in taken:
            found = [results[kept.digest] for kept in batch.kept]
            if all(self._store.path(kept.digest, kept.suffix).exists() for kept in batch.kept):
                batch.done.set_result(
                    [ReceivedImage(n, kept.name, known) for kept, (n, known) in zip(batch.kept, found, strict=True)]
                )
            else:
                batch.done.set_exception(Busy("the same image is being deleted; send it again", retry_after=1))

    def _rows(self, session: Session, batches: Sequence[Batch]) -> dict[str, tuple[int, bool]]:
        """Find or make rows; give the number of each digest, and whether it was there."""
        moment = now()
        values = {
            kept.digest: {
                "digest": kept.digest,
                "suffix": kept.suffix,
                "name": kept.name,
                "format": kept.format,
                "modality": kept.modality,
                "origin": batch.sender.origin[:_ORIGIN],
                "arrived": moment,
                **batch.headers.get(kept.digest, HeaderFacts()).columns,
            }
            for batch in batches
            for kept in batch.kept
        }
        if not values:
            return {}
        table = Image.__table__.c
        insert = self._database.insert(Image.__table__).on_conflict_do_nothing().returning(table.digest, table.id)
        made = session.connection().execute(insert, list(values.values()))
        found = {digest: (number, False) for digest, number in made}
        told = set(found)
        if len(found) < len(values):
            others = values.keys() - found.keys()
            known = select(Image.digest, Image.id, Image.purged).where(Image.digest.in_(others))
            for digest, number, purged in session.execute(known).all():
                found[digest] = number, True
                if purged is not None:  # its bytes are there again, and are kept from now on
                    again = {name: values[digest][name] for name in ("name", *OF_HEADER)}
                    new = {"purged": None, "arrived": moment, **again}
                    session.execute(update(Image).where(Image.id == number).values(new))
                    told.add(digest)
        headers = {digest: facts for batch in batches for digest, facts in batch.headers.items()}
        if studies := {facts.study for facts in headers.values()} - {None}:
            _give(session, studies)
        sealed.keep(
            session, self._database, {found[digest][0]: headers[digest].sealed for digest in headers.keys() & told}
        )
        wanted = [
            (found[kept.digest][0], current.model_id, current.version_id)
            for batch in batches
            for kept in batch.kept
            for current in batch.models
        ]
        queue.put(self._database, session, wanted, {number for number, known in found.values() if not known})
        for batch in batches:
            for kept in batch.kept:
                _record(session, batch.sender, *found[kept.digest])
        return found


def _give(session: Session, studies: Collection[str | None]) -> None:
    """Give what has come of a study to the reader who has the study."""
    has = select(Image.study, func.max(Image.assigned)).where(Image.study.in_(studies), Image.assigned.is_not(None))
    for study, reader in session.execute(has.group_by(Image.study)).all():
        session.execute(update(Image).where(Image.study == study, Image.assigned.is_(None)).values(assigned=reader))


def _record(session: Session, sender: Sender, image_id: int, known: bool) -> None:
    origin = sender.origin[:_ORIGIN]
    record(session, sender.user or origin, "upload", image_id, origin=origin, known=known, address=sender.address)
