"""The record of who sent, saw and decided what."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy import func, select

from msde.serve.intake.uploads import clean
from msde.serve.routes.access import REFUSALS, Admin, Served, TokenFirst
from msde.serve.schemas import AuditPage, Entry
from msde.serve.storage.tables import Audit

router = APIRouter(route_class=TokenFirst, prefix="/api/audit", tags=["audit"], responses=REFUSALS)


@router.get("")
def page(
    service: Served,
    caller: Admin,
    user: Annotated[str | None, Query(max_length=200)] = None,
    action: Annotated[str | None, Query(max_length=40)] = None,
    image: Annotated[int | None, Query(ge=1, le=2**53)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
) -> AuditPage:
    """List what was sent, seen and decided, the newest first."""
    service.views.note(caller.user, "audit")
    rows = select(Audit)
    if user is not None:
        rows = rows.where(Audit.user == clean(user))
    if action is not None:
        rows = rows.where(Audit.action == clean(action))
    if image is not None:
        rows = rows.where(Audit.image_id == image)
    with service.database.read() as session:
        total = session.scalar(select(func.count()).select_from(rows.subquery())) or 0
        found = session.scalars(rows.order_by(Audit.id.desc()).limit(limit).offset(offset)).all()
    return AuditPage(total=total, rows=[Entry.model_validate(row) for row in found])
