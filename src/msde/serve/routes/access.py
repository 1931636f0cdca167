"""What routes depend on: the service, who asks, and a model by name."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request, Response, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
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


def a_reader(
    request: Request,
    service: Annotated[Service, Depends(the_service)],
    _: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)] = None,
) -> Caller:
    """Return who asks, a reader at least."""
    caller: Caller | None = getattr(request.state, "caller", None)
    if caller is None:
        caller = service.gate.caller(request.method, request.headers, request.cookies, address_of(request))
        request.state.caller = caller
    return caller


def address_of(request: Request) -> str:
    """Return the address that a request comes from; behind a proxy, that of the proxy."""
    return request.client.host if request.client else ""


class TokenFirst(APIRoute):
    """A route whose body is not read before it is known who asks: FastAPI reads JSON before all else."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        answer = super().get_route_handler()
        if not _depends_on(self.dependant, a_reader):
            return answer

        async def checked(request: Request) -> Response:
            # In a thread, since it looks a session up in the database.
            await run_in_threadpool(a_reader, request, await the_service(request))
            return await answer(request)

        return checked


def _depends_on(dependant: Dependant, what: Callable[..., Any]) -> bool:
    return any(below.call is what or _depends_on(below, what) for below in dependant.dependencies)


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
