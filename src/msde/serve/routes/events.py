"""Server-sent events: what changes, as it happens."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from sqlalchemy.exc import SQLAlchemyError

from msde.serve.errors import Busy, ServiceError
from msde.serve.intake.auth import Caller
from msde.serve.routes.access import REFUSALS, Reader, Served, TokenFirst, address_of, refusals
from msde.serve.service import Service

router = APIRouter(route_class=TokenFirst, prefix="/api", tags=["events"], responses=REFUSALS)
BEAT = 4.0
"""Seconds after which a session is looked up again, and a line is sent that says nothing, or a proxy thinks it dead."""
PAUSE = 0.4
"""Seconds between two events at least: what happens meanwhile is told at once."""
LONGEST = 900.0
"""Seconds after which a stream ends and is asked for anew: whom a proxy names is told by a request alone."""
_AGAIN = 3000  # ms after which a page comes again
_STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}}


@router.get("/events", responses={**_STREAM, **refusals(429)}, response_class=StreamingResponse)
async def events(service: Served, caller: Reader, request: Request) -> StreamingResponse:
    """Tell what changes until the session is over: `{"kinds": [...], "images": [...]}`, numbers alone."""
    service.events.check_room(caller.user)
    headers = {"X-Accel-Buffering": "no"}  # nginx would hold it back
    return StreamingResponse(_told(service, caller, request), media_type="text/event-stream", headers=headers)


async def _told(service: Service, caller: Caller, request: Request) -> AsyncIterator[str]:
    begun = checked = time.monotonic()
    with suppress(Busy):
        async with service.events.listening(caller.user) as number:
            yield f"retry: {_AGAIN}\nevent: begin\ndata: {{}}\n\n"
            while not service.events.ended and time.monotonic() - begun < LONGEST:
                changes = await service.events.after(number, BEAT, caller.role)
                if service.events.ended:
                    break
                if time.monotonic() - checked >= BEAT:
                    if not await run_in_threadpool(_goes_on, service, caller, request):
                        break
                    checked = time.monotonic()
                if changes is None or not changes.kinds:
                    number = number if changes is None else changes.number
                    yield ":\n\n"
                    continue
                number = changes.number
                told = {"kinds": changes.kinds, "images": changes.images}
                yield f"event: change\ndata: {json.dumps(told)}\n\n"
                await asyncio.sleep(PAUSE)
    yield "event: end\ndata: {}\n\n"


def _goes_on(service: Service, caller: Caller, request: Request) -> bool:
    """Whether it is the same user with the same rights still: a session ends, and lines of DATA/tokens change."""
    try:
        now = service.gate.caller("GET", request.headers, request.cookies, address_of(request))
    except (ServiceError, SQLAlchemyError):
        return False
    return now == caller
