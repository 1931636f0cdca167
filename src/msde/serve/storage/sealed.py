"""Identifiers in the database, each encrypted for its image."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from sqlalchemy import and_, delete, or_, select
from sqlalchemy.orm import Session

from msde.images.formats import DICOM
from msde.serve.storage.database import Database
from msde.serve.storage.tables import Image, SealedIdentifiers


class Sealed(NamedTuple):
    """Encrypted identifiers: which key it takes to open them, and what is encrypted."""

    mark: str
    content: bytes


def keep(session: Session, database: Database, sealed: Mapping[int, Sealed | None]) -> None:
    """Store those of images, by their numbers, unless there are some already."""
    rows = [{"image_id": number, **one._asdict()} for number, one in sealed.items() if one is not None]
    if rows:
        session.execute(database.insert(SealedIdentifiers).on_conflict_do_nothing(), rows)


def of(session: Session, numbers: Collection[int] | None = None) -> list[tuple[int, str, bytes]]:
    """List number, digest and what is encrypted of images, or of all."""
    chosen = select(SealedIdentifiers.image_id, Image.digest, SealedIdentifiers.content).join(Image)
    if numbers is not None:
        chosen = chosen.where(SealedIdentifiers.image_id.in_(numbers))
    return [(number, digest, content) for number, digest, content in session.execute(chosen)]


def drop(session: Session, but: str | None) -> int:
    """Remove all but those of the key of a mark, whose images' headers are to be read again; count them."""
    others = SealedIdentifiers.mark != but if but else SealedIdentifiers.mark.is_not(None)
    removed: Any = session.execute(delete(SealedIdentifiers).where(others))
    return int(removed.rowcount)


def lacking(session: Session, mark: str | None, after: int, limit: int) -> list[Image]:
    """List DICOM images of which the header has not been read yet, or no identifiers are kept where they should be."""
    unread, unnamed = Image.body_part.is_(None), SealedIdentifiers.image_id.is_(None)
    lacks = unread if mark is None else or_(unread, unnamed)
    chosen = (
        select(Image)
        .outerjoin(SealedIdentifiers, SealedIdentifiers.image_id == Image.id)
        .where(and_(Image.format == DICOM.name, Image.purged.is_(None), Image.id > after, lacks))
    )
    return list(session.scalars(chosen.order_by(Image.id).limit(limit)))
