"""What a reader types to find images: parts of names, pseudonyms, UIDs, and what identifiers say."""

from __future__ import annotations

import re

from sqlalchemy import ColumnElement, bindparam, or_
from sqlalchemy.orm import Session

from msde.serve.intake.headers import Headers
from msde.serve.intake.uploads import clean
from msde.serve.storage import sealed
from msde.serve.storage.tables import Image

_UID = re.compile(r"[\d.]{5,64}")
_PSEUDONYM = re.compile(r"([0-9a-f]{4})-?([0-9a-f]{0,4})")


def by_name(headers: Headers, wanted: str) -> ColumnElement[bool]:
    """Find images by part of the name that their sender gave them, by pseudonyms, and by UIDs of studies and series."""
    wanted = clean(wanted)
    found = [Image.name.icontains(wanted, autoescape=True)]
    if _UID.fullmatch(wanted):
        study, series = headers.of_uid(wanted)
        found += [Image.study == study, Image.series == series]
    if pseudonym := _PSEUDONYM.fullmatch(wanted.lower()):
        beginning = "".join(pseudonym.groups())
        found += [column.startswith(beginning) for column in (Image.patient, Image.study, Image.series)]
    return or_(*found)


def by_identifiers(session: Session, headers: Headers, wanted: str) -> ColumnElement[bool]:
    """Find images of which each word is part of some identifier; all are opened for that, and none is kept open."""
    words = re.sub(r"[,^]", " ", wanted).casefold().split()
    vault, every = headers.vault, sealed.of(session) if words else ()
    numbers = [number for number, digest, content in every if vault and vault.states(content, digest, words)]
    # Written out, since they may be more than a statement may have parameters.
    return Image.id.in_(bindparam("found", numbers, expanding=True, literal_execute=True))


def pseudonym(digest: str | None) -> str | None:
    """Return the short name of a digest."""
    return None if digest is None else f"{digest[:4]}-{digest[4:8]}"
