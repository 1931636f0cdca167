"""The application: routes, page and outermost layer around a service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.concurrency import contextmanager_in_threadpool, run_in_threadpool
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.staticfiles import StaticFiles
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from msde import __version__
from msde.errors import DataError, MSDEError
from msde.serve.errors import Denied, Forbidden, Full, ServiceError, postponed
from msde.serve.intake.connection import Connections
from msde.serve.intake.middleware import Middleware
from msde.serve.intake.refusal import refusal
from msde.serve.lifecycle import running
from msde.serve.logs import log_failure, set_up_logs
from msde.serve.notify import link as notifications
from msde.serve.notify.settings import NotifyFile
from msde.serve.pacs import link
from msde.serve.pacs.settings import PacsFile
from msde.serve.routes import (
    arrivals,
    audit,
    events,
    images,
    learning,
    models,
    numbers,
    operation,
    preferences,
    session,
    studies,
    verdicts,
    worklist,
)
from msde.serve.routes.access import address_of
from msde.serve.service import Service
from msde.serve.settings import Settings
from msde.serve.storage.privacy import keep_private

_LONGEST_PATH = 200  # of one that is on record
ROUTERS = (
    *(operation, session, events, arrivals, worklist, images, studies, verdicts),
    *(models, numbers, learning, audit, preferences),
)


def create_app(settings: Settings) -> FastAPI:
    """Return the application; `msde.serve.lifecycle.prepare` brings the data folder into order first.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    FastAPI
        Its ``state.service`` is the service, which starts and stops with it.
    """
    pacs = PacsFile.read(settings.pacs) if settings.pacs else PacsFile()
    told = NotifyFile.read(settings.notify, identifiers=settings.identifiers) if settings.notify else NotifyFile()
    if twice := set(pacs.destinations).intersection(told.names):
        raise DataError(f"{settings.notify}: {min(twice)} is the name of an archive too; give each a name of its own")
    service = Service.of(settings, pacs.destinations, told.names)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[dict[str, Connections]]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(contextmanager_in_threadpool(running(service)))
            if settings.pacs:
                stack.enter_context(link.plug(app, service, pacs))
            if settings.notify:
                stack.enter_context(notifications.plug(app, service, told))
            _mount_page(app)
            yield {"connections": Connections.of(settings, service.events.end)}
            service.ready.clear()

    app = FastAPI(
        title="MSDE",
        summary="Anomaly detection in medical images. For research use only; not a medical device.",
        version=__version__,
        openapi_url="/api/openapi.json",
        docs_url=None,  # their scripts would come from elsewhere
        redoc_url=None,
        lifespan=life,
    )
    app.state.service = service
    # FastAPI's own include_router would build copies of them when first asked for one, which takes time, under warning
    # filters that another thread can upset meanwhile.
    for routes in ROUTERS:
        app.router.routes.extend(routes.router.routes)
    app.add_exception_handler(MSDEError, _refused)
    app.add_exception_handler(HTTPException, _failed)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(SQLAlchemyError, _no_database)
    app.add_middleware(Middleware, settings=settings, metrics=service.metrics)
    return app


def from_environment() -> FastAPI:
    """Return the application of a worker process."""
    set_up_logs()
    keep_private()
    return create_app(Settings.from_environment())


def _mount_page(app: FastAPI) -> None:
    """Serve the page at what no other route takes."""
    page = Path(str(files("msde.serve"))) / "page"
    if page.is_dir():
        app.mount("/", StaticFiles(directory=page, html=True), name="page")


def _refused(request: Request, error: Exception) -> JSONResponse:
    """Answer with a refusal; who was refused for want of a right to it is on record."""
    assert isinstance(error, MSDEError)  # noqa: S101 - for the type checker
    refusals, address = request.app.state.service.refusals, address_of(request)
    if isinstance(error, Denied) and error.tried:
        refusals.note("", "denied", tried=error.tried, address=address)
    if isinstance(error, Forbidden):
        path = request.url.path[:_LONGEST_PATH]
        refusals.note(error.user, "refused", method=request.method, path=path, address=address)
    return refusal(error)


async def _failed(request: Request, error: Exception) -> Response:
    """Answer with the refusal that was met while FastAPI read JSON, which calls every such fault a malformed body."""
    assert isinstance(error, HTTPException)  # noqa: S101 - for the type checker
    if isinstance(error.__cause__, ServiceError):
        return await run_in_threadpool(_refused, request, error.__cause__)
    return await http_exception_handler(request, error)


def _malformed(_: Request, error: Exception) -> JSONResponse:
    """Answer what is wrong without quoting it: it may be a name, or a number that JSON cannot hold."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - for the type checker
    kept = [{name: problem[name] for name in ("loc", "msg", "type")} for problem in error.errors()]
    return JSONResponse({"detail": kept}, 422)


def _no_database(_: Request, error: Exception) -> JSONResponse:
    log_failure("the database failed", error)
    later = postponed(error)
    if isinstance(later, Full):
        return refusal(later)
    return JSONResponse({"detail": "the database does not answer; try again"}, 503, {"retry-after": "5"})
