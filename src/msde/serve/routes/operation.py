"""Whether the service lives, is ready, and what it counts."""

from __future__ import annotations

from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

from msde.serve.routes.access import Reader, Served, problems
from msde.serve.routes.schemas import Status

router = APIRouter(tags=["operation"])


@router.get("/livez", response_model=Status)
async def livez() -> Status:
    """Tell that the process answers."""
    return Status(status="live")


@router.get("/readyz", response_model=Status, responses={503: {"model": Status}})
async def readyz(service: Served, response: Response) -> Status:
    """Tell whether requests can be served now."""
    if service.ready and len(service.models) and await run_in_threadpool(service.database.answers):
        return Status(status="ready")
    response.status_code = 503
    return Status(status="not ready")


@router.get("/metrics", responses={**problems(), 200: {"content": {"text/plain": {}}}}, response_class=Response)
def metrics(service: Served, caller: Reader) -> Response:
    """Give all metrics as Prometheus reads them."""
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
