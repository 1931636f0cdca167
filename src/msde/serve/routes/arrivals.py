"""Images coming in: to be kept and queued, or to be scored at once and forgotten."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from email.message import Message
from pathlib import Path
from typing import Annotated, TypeVar

from fastapi import APIRouter, Header, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from msde.output.words import how_often
from msde.serve import audit
from msde.serve.errors import ServiceError, TooLarge
from msde.serve.intake.form import Form
from msde.serve.intake.image_rows import Sender
from msde.serve.intake.reception import Received as Kept
from msde.serve.intake.uploads import check_no_archive, clean
from msde.serve.models import Current
from msde.serve.routes.access import REFUSALS, Address, OfModel, Reader, Served, TokenFirst, refusals
from msde.serve.schemas import Received, Result
from msde.serve.service import Service
from msde.serve.storage.store import Arrival
from msde.serve.worklist import finite

router = APIRouter(route_class=TokenFirst, tags=["images"], responses=REFUSALS)
Name = Annotated[str, Query(max_length=1000, description="What the sender calls it.")]
Disposition = Annotated[
    str | None,
    Header(
        alias="Content-Disposition",
        max_length=10_000,
        description="As `attachment; filename*=UTF-8''NAME`: what the sender calls it, kept out of the address.",
    ),
]
EveryModel = Annotated[str | None, Query(max_length=200, description="By default every one scores it.")]
T = TypeVar("T")

_FILE = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_FORM = {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "properties": {"files": {"type": "array", "items": {"type": "string", "format": "binary"}}},
        }
    }
}


@router.post(
    "/api/images",
    status_code=202,
    responses=refusals(413, 415, 429, 507),
    openapi_extra={"requestBody": {"content": {**_FILE, **_FORM}, "required": True}},
)
async def upload(
    request: Request,
    service: Served,
    caller: Reader,
    address: Address,
    model: EveryModel = None,
    name: Name = "upload",
    disposition: Disposition = None,
) -> Received:
    """Keep an image, a volume, a zip of such or several files, and queue them; answered when all is on disk."""
    name = _stated(disposition) or name
    models = None if model is None else [service.models.named(model).name]
    sender = Sender("rest", caller.user, address)
    await run_in_threadpool(service.reception.check_room, _announced(request))
    with service.store.arriving() as arrival:
        if _media_type(request) == "multipart/form-data":
            files = await _form(request, arrival, service.settings.files)

            def keep() -> Kept:
                return service.reception.keep_files(files, name, arrival, sender, models)
        else:
            await _body(request, arrival, service.settings.upload_bytes)

            def keep() -> Kept:
                return service.reception.keep_file(arrival, name, sender, models)

        return Received.model_validate(await _counted(service, keep))


@router.post(
    "/api/score",
    responses=refusals(413, 415, 429, 507),
    openapi_extra={"requestBody": {"content": _FILE, "required": True}},
)
async def score(
    request: Request, service: Served, caller: Reader, address: Address, current: OfModel, name: Name = "image"
) -> Result:
    """Score an image or volume and keep nothing of it."""
    service.room.check(_announced(request))
    with service.store.arriving() as arrival:
        await _body(request, arrival, service.settings.upload_bytes)
        sender = Sender("rest", caller.user, address)
        return await _counted(service, lambda: _score(service, sender, current, arrival.file, name))


def _stated(disposition: str | None) -> str | None:
    """Return the name of a file that a header states."""
    message = Message()
    message["content-disposition"] = disposition or ""
    with suppress(UnicodeError):  # of a coding in which no name can be
        return message.get_filename()
    return None


def _score(service: Service, sender: Sender, current: Current, file: Path, name: str) -> Result:
    check_no_archive(file, clean(name))
    outcome = service.at_once.score(file, name, current)
    with service.database.write() as session:
        facts = {"model": current.name, "version": current.number, "address": sender.address}
        audit.record(session, sender.user, "score", None, **facts)
    p_value = finite(outcome.p_value)
    n = len(service.models.version(current.version_id).calibration_.scores)
    return Result(
        name=clean(name),
        model=current.name,
        version=current.number,
        anomaly_score=finite(outcome.anomaly_score),
        p_value=p_value,
        words=None if p_value is None or outcome.n_parts > 1 else how_often(p_value, n),
        flagged=None if p_value is None else p_value <= current.highest_p,
        error=outcome.error,
        n_parts=outcome.n_parts,
        seen_in_training=outcome.seen_in_training,
        evidence=outcome.evidence,
    )


async def _counted(service: Service, job: Callable[[], T]) -> T:
    """Run a job in a thread, and count its refusals."""
    try:
        return await run_in_threadpool(job)
    except ServiceError as error:
        service.metrics.refused(error.status)
        raise


async def _body(request: Request, arrival: Arrival, limit: int) -> None:
    """Write the body to a file as it comes."""
    size = 0
    try:
        with arrival.file.open("wb") as file:
            async for block in request.stream():
                size += len(block)
                if size > limit:
                    raise TooLarge(f"the file is over the limit of {limit:,} bytes; send a smaller one")
                file.write(block)
    except ClientDisconnect:
        raise ServiceError("the connection ended within the body; send it again") from None
    if not size:
        raise ServiceError("the body is empty; send a file as the body")


def _announced(request: Request) -> int:
    """Return how many bytes the body is said to have, 0 where it is not."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else 0


def _media_type(request: Request) -> str:
    """Return what the body is said to be, without parameters; media types have no case."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _form(request: Request, arrival: Arrival, limit: int) -> list[tuple[str, Path]]:
    """Write the files of a form to files of our own naming."""
    with Form(request.headers["content-type"], arrival.folder("form"), limit) as form:
        try:
            async for block in request.stream():
                form.feed(block)
        except ClientDisconnect:
            raise ServiceError("the connection ended within the body; send it again") from None
        return form.files()
