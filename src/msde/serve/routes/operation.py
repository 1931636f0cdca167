"""Whether the service lives, is ready, and what it counts."""

from __future__ import annotations

from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

from msde.serve.routes.access import REFUSALS, Reader, Served
from msde.serve.schemas import Status

router = APIRouter(tags=["operation"])


@router.get("/livez")
async def livez() -> Status:
    """Whether the process answers."""
    return Status(status="live")


@router.get("/readyz", responses={503: {"model": Status}})
async def readyz(service: Served, response: Response) -> Status:
    """Whether requests can be served now."""
    if service.ready.is_set() and len(service.models) and await run_in_threadpool(service.database.answers):
        return Status(status="ready")
    response.status_code = 503
    return Status(status="not ready")


@router.get("/metrics", responses={**REFUSALS, 200: {"content": {"text/plain": {}}}}, response_class=Response)
def metrics(service: Served, caller: Reader) -> Response:
    """Return all metrics in the text format of Prometheus."""
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
