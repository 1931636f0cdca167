"""STOW-RS in, and how the links to archives do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy import func, select, update
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from msde.serve import audit
from msde.serve.errors import ServiceError
from msde.serve.intake.image_rows import Sender
from msde.serve.pacs.instance import is_uid
from msde.serve.pacs.intake import Intake
from msde.serve.pacs.multipart import Parts
from msde.serve.pacs.settings import StowSettings
from msde.serve.pacs.stow import ORIGIN, Answer
from msde.serve.periodic import Periodic
from msde.serve.routes.access import REFUSALS, Address, Admin, Reader, Served, TokenFirst, refusals
from msde.serve.storage.tables import Outgoing, now

_MOST = 500


class Link(BaseModel):
    """A link to an archive; `error` is why its last round failed."""

    name: str
    done: datetime | None
    error: str | None


class DeadResult(BaseModel):
    """A result that is given up."""

    id: int
    destination: str
    attempts: int
    error: str | None


class DeadInstance(BaseModel):
    """An instance of an archive that could not be fetched; its UID stands in the table dicom_failures."""

    pacs: str
    attempts: int
    error: str


class Links(BaseModel):
    """All links, what waits, and what is given up (500 of each at most)."""

    links: list[Link]
    outbox: dict[str, dict[str, int]]
    dead_results: list[DeadResult]
    dead_instances: list[DeadInstance]


class Revived(BaseModel):
    """How many are tried again."""

    results: int
    instances: int


def status_router(intake: Intake, jobs: Callable[[], list[Periodic]], destinations: Sequence[str]) -> APIRouter:
    """Return the routes about the links.

    Parameters
    ----------
    intake : Intake
    jobs : callable
        Those that run in this process.
    destinations : sequence of str
        Names of the archives where results are stored.
    """
    router = APIRouter(route_class=TokenFirst, tags=["pacs"])
    of_ours = Outgoing.destination.in_(destinations)

    @router.get("/api/pacs", responses=REFUSALS)
    def links(service: Served, caller: Admin) -> Links:
        """Return how the links do, and what they gave up."""
        with service.database.read() as session:
            counted = select(Outgoing.destination, Outgoing.state, func.count()).where(of_ours)
            outbox: dict[str, dict[str, int]] = {}
            for destination, state, n in session.execute(counted.group_by(Outgoing.destination, Outgoing.state)):
                outbox.setdefault(destination, {})[state] = n
            dead = session.scalars(
                select(Outgoing).where(of_ours, Outgoing.state == "dead").order_by(Outgoing.id).limit(_MOST)
            )
            results = [
                DeadResult(id=row.id, destination=row.destination, attempts=row.attempts, error=row.error)
                for row in dead
            ]
        return Links(
            links=[Link(name=job.name, done=job.done, error=job.error) for job in jobs()],
            outbox=outbox,
            dead_results=results,
            dead_instances=[
                DeadInstance(pacs=one.pacs, attempts=one.attempts, error=one.error) for one in intake.ledger.dead(_MOST)
            ],
        )

    @router.post("/api/pacs/retry", responses=REFUSALS)
    def retry(service: Served, caller: Admin) -> Revived:
        """Try everything again at once: what is given up, and what waits for its next attempt."""
        with service.database.write() as session:
            again = update(Outgoing).where(of_ours, Outgoing.state != "sent")
            changed: Any = session.execute(again.values(state="waiting", attempts=0, next_try=now()))
            audit.record(session, caller.user, "retry PACS")
        revived = Revived(results=changed.rowcount, instances=intake.ledger.revive())
        for job in jobs():
            job.wake()
        return revived

    return router


def stow_router(intake: Intake, settings: StowSettings) -> APIRouter:
    """Return the routes of STOW-RS.

    Parameters
    ----------
    intake : Intake
    settings : StowSettings
    """
    router = APIRouter(route_class=TokenFirst, tags=["pacs"])
    body = {"requestBody": {"required": True, "content": {'multipart/related; type="application/dicom"': {}}}}
    documented: Any = {
        "responses": {status: {"content": {"application/dicom+json": {}}} for status in (200, 202, 409, 503)}
        | {status: (REFUSALS | refusals(413, 415))[status] for status in (400, 401, 403, 413, 415)},
        "response_class": JSONResponse,
        "openapi_extra": body,
    }

    @router.post("/dicomweb/studies", **documented)
    async def store(request: Request, caller: Reader, address: Address) -> JSONResponse:
        """Store DICOM objects."""
        return await _stored(request, None, Sender(ORIGIN, caller.user, address), intake, settings)

    @router.post("/dicomweb/studies/{study}", **documented)
    async def store_in_study(
        request: Request, caller: Reader, address: Address, study: Annotated[str, Path(max_length=64)]
    ) -> JSONResponse:
        """Store DICOM objects of one study."""
        if not is_uid(study):
            raise ServiceError("the study in the path is no UID")
        return await _stored(request, study, Sender(ORIGIN, caller.user, address), intake, settings)

    return router


async def _stored(
    request: Request, study: str | None, sender: Sender, intake: Intake, settings: StowSettings
) -> JSONResponse:
    parts, answer = Parts(request.headers.get("content-type", ""), settings), Answer()
    try:
        async for block in request.stream():
            for content in parts.feed(block):
                await run_in_threadpool(answer.add, content, study, sender, intake)
    except ClientDisconnect:
        raise ServiceError("the body ended early; send it again") from None
    parts.close()
    return JSONResponse(answer.as_json(), answer.status, headers=answer.headers, media_type="application/dicom+json")
