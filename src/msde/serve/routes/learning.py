"""Learning from verdicts: what there is to learn from, and what a proposed version would change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from fastapi import APIRouter
from sqlalchemy import select
from sqlalchemy.orm import Session

from msde.serve import learning
from msde.serve.models import Current
from msde.serve.proposal import Changed, Learning, Named, Proposal
from msde.serve.routes.access import REFUSALS, Admin, Served, ThisModel, TokenFirst, refusals
from msde.serve.service import Service
from msde.serve.storage.tables import Image, Version
from msde.serve.storage.tables import Proposal as Row

Kind = TypeVar("Kind", bound=Named)
router = APIRouter(route_class=TokenFirst, prefix="/api/models", tags=["models"], responses=REFUSALS)


@router.get("/{model}/learn")
def look(service: Served, caller: Admin, current: ThisModel) -> Learning:
    """Tell what there is to learn from, and how the latest proposal stands."""
    return _described(service, current)


@router.post("/{model}/learn", status_code=202, responses=refusals(409))
def learn(service: Served, caller: Admin, current: ThisModel) -> Learning:
    """Start to learn from the verdicts; that makes a new version, which is not current until it is made so."""
    learning.propose(service, current, caller.user)
    return _described(service, current)


def _described(service: Service, current: Current) -> Learning:
    with service.database.read() as session:
        judged = learning.Judged.of(session, current)
        latest = learning.latest_proposal(session, current)
        normals, abnormals = judged.count()
        return Learning(
            confirmed_normals=normals,
            confirmed_abnormals=abnormals,
            contradicted=_named(session, [{"image": number} for number in judged.contradicted], Named),
            lacks=learning.lacks(service, current, judged),
            proposal=None if latest is None else _proposal(session, latest),
        )


def _proposal(session: Session, proposal: Row) -> Proposal:
    made = None if proposal.version_id is None else session.get_one(Version, proposal.version_id).number
    state = learning.state_of(proposal)
    figures = proposal.figures and {
        **proposal.figures,
        "changed": _named(session, proposal.figures["changed"], Changed),
        "contradicted": _named(session, [{"image": number} for number in proposal.figures["contradicted"]], Named),
    }
    return Proposal.model_validate(
        {
            "state": state,
            "progress": proposal.progress,
            "before": session.get_one(Version, proposal.before_id).number,
            "version": made,
            "made_by": proposal.made_by,
            "at": proposal.at,
            "error": proposal.error or (learning.ENDED if state == "failed" else None),
            "comparison": figures,
        }
    )


def _named(session: Session, rows: Iterable[dict[str, Any]], kind: type[Kind]) -> list[Kind]:
    """Give images their names; those that are gone are left out."""
    rows = list(rows)
    chosen = select(Image.id, Image.name).where(Image.id.in_([row["image"] for row in rows]))
    names = {row.id: row.name for row in session.execute(chosen)}
    return [kind(name=names[row["image"]], **row) for row in rows if row["image"] in names]
