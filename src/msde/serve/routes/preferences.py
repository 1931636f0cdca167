"""How somebody likes the worklist, kept for him."""

from __future__ import annotations

from fastapi import APIRouter

from msde.serve.asked import Preferences
from msde.serve.routes.access import REFUSALS, Reader, Served, TokenFirst
from msde.serve.storage.tables import Preferences as Row

router = APIRouter(route_class=TokenFirst, prefix="/api/preferences", tags=["preferences"], responses=REFUSALS)


@router.get("")
def chosen(service: Served, caller: Reader) -> Preferences:
    """Return what the caller has chosen."""
    with service.database.read() as session:
        row = session.get(Row, caller.user)
    return Preferences() if row is None else Preferences.model_validate(row.chosen)


@router.put("")
def choose(service: Served, caller: Reader, body: Preferences) -> Preferences:
    """Keep what the caller has chosen."""
    with service.database.write() as session:
        row = {"user": caller.user, "chosen": body.model_dump()}
        new = service.database.insert(Row).values(row)
        session.execute(new.on_conflict_do_update(index_elements=["user"], set_={"chosen": row["chosen"]}))
    return body
