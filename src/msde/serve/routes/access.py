"""What routes depend on: the service, who asks, and a model by name."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from msde.serve.errors import Forbidden
from msde.serve.intake.auth import Caller
from msde.serve.models import Current
from msde.serve.schemas import Problem
from msde.serve.service import Service

_BEARER = HTTPBearer(auto_error=False, description="A token of DATA/tokens.")


async def the_service(request: Request) -> Service:
    """Return the service."""
    service: Service = request.app.state.service
    return service


async def a_reader(
    request: Request,
    service: Annotated[Service, Depends(the_service)],
    _: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)] = None,
) -> Caller:
    """Return who asks, a reader at least."""
    asked = (request.method, request.headers, request.cookies, address_of(request))
    return await run_in_threadpool(service.gate.caller, *asked)


def address_of(request: Request) -> str:
    """Return the address that a request comes from; behind a proxy, that of the proxy."""
    return request.client.host if request.client else ""


async def an_admin(caller: Annotated[Caller, Depends(a_reader)]) -> Caller:
    """Return who asks, an admin."""
    if caller.role != "admin":
        raise Forbidden("this needs the role admin; ask the administrator of the service", caller.user)
    return caller


Served = Annotated[Service, Depends(the_service)]
Address = Annotated[str, Depends(address_of)]
Reader = Annotated[Caller, Depends(a_reader)]
Admin = Annotated[Caller, Depends(an_admin)]
ModelName = Annotated[str | None, Query(alias="model", max_length=200, description="By default the first one.")]


async def a_model(service: Served, name: ModelName = None) -> Current:
    """Return the model asked for by a parameter."""
    return service.models.named(name)


async def the_model(service: Served, model: Annotated[str, Path(max_length=200)]) -> Current:
    """Return the model asked for in the path."""
    return service.models.named(model)


OfModel = Annotated[Current, Depends(a_model)]
ThisModel = Annotated[Current, Depends(the_model)]
ImageId = Annotated[int, Path(ge=1, le=2**53)]
Side = Annotated[int | None, Query(ge=16, le=2048, description="Longest side in pixels.")]
PartNumber = Annotated[int | None, Query(ge=0, le=1_000_000, description="Slice, from 0.")]


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Document the statuses of refusals."""
    return {status: {"model": Problem} for status in statuses}


REFUSALS = refusals(400, 401, 403, 404, 422, 503)
"""That any route may give."""
