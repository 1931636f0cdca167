"""Headers of images that came before what is now kept of them was kept."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import select

from msde.serve.intake.headers import Headers
from msde.serve.storage import sealed
from msde.serve.storage.database import Database
from msde.serve.storage.store import Store
from msde.serve.storage.tables import Image

_AT_ONCE = 100


def read_earlier(database: Database, store: Store, headers: Headers, stopped: Callable[[], bool]) -> int:
    """Read the headers of images of which something is lacking, such as of those that came without ``--identifiers``.

    Parameters
    ----------
    database : Database
    store : Store
    headers : Headers
    stopped : callable
        Whether to leave the rest to the next time.

    Returns
    -------
    int
        Of how many images something is known now.
    """
    mark = None if headers.vault is None else headers.vault.mark
    last = told = 0
    while not stopped():
        with database.read() as session:
            images = sealed.lacking(session, mark, last, _AT_ONCE)
        if not images:
            break
        last = images[-1].id
        facts = {image.id: headers.facts(store.path(image.digest, image.suffix), image.digest) for image in images}
        with database.write() as session:
            there = select(Image).where(Image.id.in_(facts), Image.purged.is_(None)).with_for_update()
            for image in session.scalars(there):
                for name, value in facts[image.id].columns.items():
                    setattr(image, name, value)
                sealed.keep(session, database, {image.id: facts[image.id].sealed})
                told += 1
    return told
