"""Whether the service lives, is ready, and what it counts."""

from __future__ import annotations

from fastapi import APIRouter, Response

from msde.serve.routes.access import REFUSALS, Reader, Served, TokenFirst
from msde.serve.schemas import Status

router = APIRouter(route_class=TokenFirst, tags=["operation"])


@router.get("/livez", response_model_exclude_none=True)
async def livez() -> Status:
    """Whether the process answers."""
    return Status(status="live")


@router.get("/readyz", responses={503: {"model": Status}}, response_model_exclude_none=True)
async def readyz(service: Served, response: Response) -> Status:
    """Whether requests can be served now, as was found a moment ago."""
    if not service.ready.is_set():
        response.status_code = 503
        return Status(status="not ready")
    problems = service.health.problems
    if problems:
        response.status_code = 503
        return Status(status="not ready", problems=list(problems))
    return Status(status="ready")


@router.get("/metrics", responses={**REFUSALS, 200: {"content": {"text/plain": {}}}}, response_class=Response)
def metrics(service: Served, caller: Reader) -> Response:
    """Return all metrics in the text format of Prometheus."""
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
