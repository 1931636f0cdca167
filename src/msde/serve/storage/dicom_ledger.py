"""Which DICOM objects have come in, and how far each archive has been read.

It may be lost: images are kept by their bytes, so what is fetched again is known again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select, tuple_

from msde.serve.backoff import pause
from msde.serve.storage.database import Database
from msde.serve.storage.outbox import ATTEMPTS, FIRST_PAUSE, LONGEST_PAUSE
from msde.serve.storage.tables import Base, DicomFailure, DicomInstance, DicomSeries, Image, Score, now


class DicomLedger:
    """The tables of a database; may be used by several threads and processes.

    Parameters
    ----------
    database : Database
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, uid: str) -> DicomInstance | None:
        """Return what became of an instance, None where it has not been seen."""
        with self._database.read() as session:
            return session.get(DicomInstance, uid)

    def note(
        self, uid: str, fate: str, pixels: str | None = None, digest: str | None = None, *, for_good: bool = True
    ) -> None:
        """Store what became of an instance.

        Parameters
        ----------
        uid, fate : str
        pixels, digest : str, optional
            Of its pixels and its file.
        for_good : bool, default=True
            Whether the failures to fetch it are forgotten, because it will not be fetched again.
        """
        with self._database.write() as session:
            session.execute(self._put(DicomInstance, uid=uid, fate=fate, pixels=pixels, digest=digest))
            if for_good:
                session.execute(delete(DicomFailure).where(DicomFailure.uid == uid))

    def has(self, fate: str, pixels: str) -> bool:
        """Whether an instance with these pixels met a fate, under whichever UID."""
        chosen = select(DicomInstance.uid).where(DicomInstance.pixels == pixels, DicomInstance.fate == fate)
        with self._database.read() as session:
            return session.scalars(chosen.limit(1)).first() is not None

    def could_not_be_scored(self, digest: str) -> bool:
        """Whether every model that was to score an image has failed."""
        chosen = select(Score.state).join(Image, Image.id == Score.image_id).where(Image.digest == digest)
        with self._database.read() as session:
            return set(session.scalars(chosen)) == {"failed"}

    def n_settled(self, pacs: str, series: str) -> int | None:
        """Return how many instances a series of an archive had when all of them were settled; None if never."""
        with self._database.read() as session:
            row = session.get(DicomSeries, (pacs, series))
        return row.instances if row else None

    def settle(self, pacs: str, series: str, instances: int) -> None:
        """Store that each of a series' instances has come to its end."""
        with self._database.write() as session:
            session.execute(self._put(DicomSeries, pacs=pacs, uid=series, instances=instances))

    def fail(self, pacs: str, uid: str, series: str, error: str) -> None:
        """Count an attempt to fetch an instance that failed; it is given up after `ATTEMPTS`."""
        with self._database.write() as session:
            row = session.get(DicomFailure, (pacs, uid))
            attempts = (row.attempts if row else 0) + 1
            next_try = now() + pause(attempts, FIRST_PAUSE, LONGEST_PAUSE)
            values = {"series": series, "attempts": attempts, "next_try": next_try, "error": error}
            session.execute(self._put(DicomFailure, pacs=pacs, uid=uid, **values))

    def may_try(self, pacs: str, uid: str) -> bool | None:
        """Whether an instance is to be fetched now; None where it is given up."""
        with self._database.read() as session:
            row = session.get(DicomFailure, (pacs, uid))
        if row and row.attempts >= ATTEMPTS:
            return None
        # A pause that is longer than any was begun before the clock was put back.
        return row is None or not timedelta(0) < row.next_try - now() <= LONGEST_PAUSE

    def dead(self, limit: int) -> Sequence[DicomFailure]:
        """List what is given up."""
        chosen = select(DicomFailure).where(DicomFailure.attempts >= ATTEMPTS)
        with self._database.read() as session:
            return session.scalars(chosen.order_by(DicomFailure.pacs, DicomFailure.uid).limit(limit)).all()

    def revive(self) -> int:
        """Forget all failures, so that everything is tried again at once; count them."""
        failed = select(DicomFailure.pacs, DicomFailure.series)
        with self._database.write() as session:
            session.execute(delete(DicomSeries).where(tuple_(DicomSeries.pacs, DicomSeries.uid).in_(failed)))
            revived: Any = session.execute(delete(DicomFailure))
        return int(revived.rowcount)

    def _put(self, table: type[Base], **values: Any) -> Any:
        """Insert a row, in place of that with the same key."""
        key = [column.name for column in table.__table__.primary_key]
        changed = {name: value for name, value in values.items() if name not in key}
        return self._database.insert(table).values(values).on_conflict_do_update(index_elements=key, set_=changed)
