"""What is shown of one image."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

from fastapi import APIRouter, Query, Response
from fastapi import Path as PathParameter
from sqlalchemy import select

from msde.errors import ImageError
from msde.images import Part
from msde.images.measures import Measures
from msde.serve import erasure, picture_schemas, pictures, readings, schemas, worklist
from msde.serve.errors import NotFound, ServiceError
from msde.serve.models import Current
from msde.serve.opinions import opinions
from msde.serve.patients import say_of_patients
from msde.serve.region import Region, measured
from msde.serve.routes.access import (
    REFUSALS,
    Admin,
    ImageId,
    OfModel,
    PartNumber,
    Reader,
    Served,
    Side,
    TokenFirst,
    refusals,
)
from msde.serve.schemas import (
    Case,
    Labelled,
    NearestLabelled,
    Normal,
    Normals,
    Past,
)
from msde.serve.service import Service
from msde.serve.storage import sealed
from msde.serve.storage.tables import Image, Model, Score, Verdict, Version
from msde.serve.windows import windows_of

router = APIRouter(route_class=TokenFirst, prefix="/api", tags=["images"], responses=REFUSALS)
Value = Annotated[float | None, Query(allow_inf_nan=False)]
Edge = Annotated[float, Query(ge=-1e6, le=1e6, allow_inf_nan=False, description="In pixels of the whole picture.")]
_PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}}}
_BYTES: dict[int | str, dict[str, Any]] = {200: {"content": {"application/octet-stream": {}}}}
_BUSY = refusals(429)
T = TypeVar("T")


@router.get("/images/{id}", responses=_BUSY)
async def case(service: Served, caller: Reader, current: OfModel, id: ImageId) -> Case:
    """Return all that is known of an image."""
    return await service.drawing.run(partial(_case, service, caller.user, current, id))


def _case(service: Service, user: str, current: Current, id_: int) -> Case:
    image = worklist.find_image(service.database, id_)
    service.views.note(user, "view", id_)
    with service.database.read() as session:
        found: Any = session.execute(worklist.select_rows(current).where(Image.id == id_)).one_or_none()
        given = session.execute(
            select(Verdict, Model.name, Version.number)
            .outerjoin(Version, Version.id == Verdict.version_id)
            .outerjoin(Model, Model.id == Version.model_id)
            .where(Verdict.image_id == id_)
            .order_by(Verdict.id.desc())
        ).all()
        scores = session.execute(
            select(Score, Version.number)
            .join(Version, Version.id == Score.version_id)
            .where(Score.image_id == id_, Score.model_id == current.model_id)
            .order_by(Version.number.desc())
        ).all()
        patient = None
        if image.patient is not None:
            calibration = service.models.version(current.version_id).patients_
            patient = say_of_patients(session, current, calibration, [image.patient]).get(image.patient)
        identifiers = service.headers.open(sealed.of(session, [id_])).get(id_)
        seen = readings.seen(session, id_, found.Score if found else None, user)
        said = opinions(session, service.models, id_)
    if found is None:
        raise NotFound(f"image {id_} is not one of the model {current.name}")
    _, score, version = found
    suited = score.state != "unsuited"
    rule, size, range_, spacing = service.models.version(current.version_id).rule, None, None, None
    with suppress(ImageError, NotFound):  # what cannot be read has no range; its row says why
        source = _source(service, image, _part(service, current, id_, None))
        samples, measures = pictures.decoded(source), pictures.measures(source)
        size, shown = samples.values.shape[:2], pictures.shades(samples, rule, image.name)
        range_ = None if shown is None else _range(shown, measures)
        if measures.spacing is not None:
            rows, columns = measures.spacing
            spacing = picture_schemas.Spacing(rows=rows, columns=columns, at_detector=measures.at_detector)
    height, width = size or (None, None)
    threshold = service.models.calibration(current).threshold
    row = worklist.row(current, threshold, image, score, version, identifiers=identifiers, patient=patient)
    return Case(
        **dict(row),
        top_parts=[schemas.Part(part=part, anomaly_score=value, p_value=p) for part, value, p in score.top_parts or []],
        verdicts=[worklist.verdict_row(verdict, model, number) for verdict, model, number in given],
        seen=seen,
        opinions=said,
        history=[
            Past(version=number, anomaly_score=past.anomaly_score, p_value=past.p_value, scored=past.scored)
            for past, number in scores
        ],
        range=range_,
        spacing=spacing,
        has_overlay=suited and image.purged is None and service.models.version(current.version_id).explains,
        width=width,
        height=height,
    )


def _range(shown: pictures.Shades, measures: Measures) -> picture_schemas.Range:
    return picture_schemas.Range(
        low=shown.low,
        high=shown.high,
        window=shown.window,
        unit_bits=shown.bits,
        unit=measures.unit,
        windows=[picture_schemas.Window.model_validate(window) for window in windows_of(shown, measures)],
    )


@router.get("/images/{id}/picture", responses={**_PNG, **_BUSY}, response_class=Response)
async def picture(
    service: Served,
    caller: Reader,
    current: OfModel,
    id: ImageId,
    part: PartNumber = None,
    side: Side = None,
    low: Value = None,
    high: Value = None,
) -> Response:
    """Draw an image, or a slice of a volume, by the model's rule or between two values."""
    window = _window(low, high)

    def draw(source: Path | Part) -> bytes:
        return pictures.picture(source, service.models.version(current.version_id).rule, side, window)

    return Response(await _of_image(service, caller.user, current, id, part, draw), media_type="image/png")


@router.get("/images/{id}/samples", responses={**refusals(413, 429), **_BYTES}, response_class=Response)
async def samples(service: Served, caller: Reader, current: OfModel, id: ImageId, part: PartNumber = None) -> Response:
    """Return the values of a gray image for window and level in the browser; docs/service.md has the format."""

    def read(source: Path | Part) -> tuple[pictures.Shades, bytes]:
        return pictures.levels(source, service.models.version(current.version_id).rule)

    found, numbers = await _of_image(service, caller.user, current, id, part, read)
    height, width = found.values.shape
    facts = {"X-Width": width, "X-Height": height, "X-Low": found.low, "X-High": found.high}
    facts |= {"X-Inverted": "1" if found.inverted else "0"}
    headers = {name: str(value) for name, value in facts.items()}
    return Response(numbers, media_type="application/octet-stream", headers=headers)


@router.get("/images/{id}/region", responses=_BUSY)
async def region(
    service: Served,
    caller: Reader,
    current: OfModel,
    id: ImageId,
    left: Edge,
    top: Edge,
    right: Edge,
    bottom: Edge,
    part: PartNumber = None,
) -> picture_schemas.Region:
    """Measure the ellipse that fills a box of a gray image, given in pixels from the upper left corner."""
    if left >= right or top >= bottom:
        raise ServiceError("give left below right and top below bottom")

    def measure(source: Path | Part) -> Region:
        return measured(source, left, top, right, bottom)

    return picture_schemas.Region.model_validate(await _of_image(service, caller.user, current, id, part, measure))


@router.get("/images/{id}/overlay", responses={**_PNG, **_BUSY}, response_class=Response)
async def overlay(
    service: Served,
    caller: Reader,
    current: OfModel,
    id: ImageId,
    part: PartNumber = None,
    side: Side = None,
    alone: bool = False,
) -> Response:
    """Draw where an image differs from the normals, over the image or alone for any window of it."""

    def draw(source: Path | Part) -> bytes:
        return pictures.overlay(source, service.models.version(current.version_id), side, alone=alone)

    return Response(await _of_image(service, caller.user, current, id, part, draw), media_type="image/png")


@router.get("/images/{id}/normals", responses=_BUSY)
async def normals(service: Served, caller: Reader, current: OfModel, id: ImageId, part: PartNumber = None) -> Normals:
    """List the normals most like an image."""
    numbers = await _of_image(service, caller.user, current, id, part, partial(service.normals.nearest, current))
    root, model = service.settings.root_path, quote(current.name, safe="")
    address = "{}/api/normals/{}/picture?model={}"
    return Normals(normals=[Normal(number=n, picture=address.format(root, n, model)) for n in numbers])


@router.get("/normals/{number}/picture", responses={**_PNG, **_BUSY}, response_class=Response)
async def normal(
    service: Served,
    caller: Reader,
    current: OfModel,
    number: Annotated[int, PathParameter(ge=0, le=10**9)],
    side: Side = None,
    low: Value = None,
    high: Value = None,
) -> Response:
    """Draw a normal, by the model's rule or between two values."""
    view = partial(service.views.note, caller.user, "normal", model=current.name, number=number)
    window, source = _window(low, high), service.normals.source(current, number)
    return await _of_reference(service, current, view, source, side, window)


@router.get("/images/{id}/labelled", responses=_BUSY)
async def nearest_labelled(
    service: Served, caller: Reader, current: OfModel, id: ImageId, part: PartNumber = None
) -> NearestLabelled:
    """List the labelled abnormal images most like an image, of those that the model learnt from."""
    numbers = await _of_image(service, caller.user, current, id, part, partial(service.labelled.nearest, current))
    root, model = service.settings.root_path, quote(current.name, safe="")
    address = "{}/api/labelled/{}/picture?model={}"
    return NearestLabelled(
        labelled=[
            Labelled(number=n, picture=address.format(root, n, model), kind=service.labelled.kind(current, n))
            for n in numbers
        ]
    )


@router.get("/labelled/{number}/picture", responses={**_PNG, **_BUSY}, response_class=Response)
async def labelled(
    service: Served,
    caller: Reader,
    current: OfModel,
    number: Annotated[int, PathParameter(ge=0, le=10**9)],
    side: Side = None,
    low: Value = None,
    high: Value = None,
) -> Response:
    """Draw a labelled abnormal image, by the model's rule or between two values."""
    view = partial(service.views.note, caller.user, "labelled", model=current.name, number=number)
    window, source = _window(low, high), service.labelled.source(current, number)
    return await _of_reference(service, current, view, source, side, window)


@router.delete("/images/{id}", status_code=204, responses=refusals(409))
def remove(service: Served, caller: Admin, id: ImageId) -> None:
    """Remove an image with its scores and verdicts; the audit log stays."""
    erasure.remove(service.database, service.store, id, caller.user)
    service.forgetting.look()


def _window(low: float | None, high: float | None) -> tuple[float, float] | None:
    if low is None and high is None:
        return None
    if low is None or high is None or low >= high:
        raise ServiceError("give both low and high, low below high, or neither")
    return low, high


async def _of_reference(
    service: Service,
    current: Current,
    view: Callable[[], None],
    source: Path | Part,
    side: int | None,
    window: tuple[float, float] | None,
) -> Response:
    """Draw an image to compare with, once the view is on record."""

    def draw() -> bytes:
        view()
        return pictures.picture(source, service.models.version(current.version_id).rule, side, window)

    return Response(await service.drawing.run(draw), media_type="image/png")


async def _of_image(
    service: Service, user: str, current: Current, id_: int, part: int | None, job: Callable[[Path | Part], T]
) -> T:
    """Run a job on an image, or a slice of a volume, in the threads that draw; that somebody views it is on record."""

    def work() -> T:
        image = worklist.find_image(service.database, id_)
        service.views.note(user, "view", id_)
        try:
            return job(_source(service, image, _part(service, current, id_, part)))
        except ImageError as error:
            path = str(service.store.path(image.digest, image.suffix))
            raise ImageError(str(error).replace(path, image.name)) from None

    return await service.drawing.run(work)


def _part(service: Service, current: Current, id_: int, part: int | None) -> int:
    """Choose a slice: the one asked for, or that with the highest score."""
    if part is not None:
        return part
    chosen = select(Score.top_parts).where(Score.image_id == id_, Score.model_id == current.model_id, Score.shown)
    with service.database.read() as session:
        highest = session.scalar(chosen)
    return int(highest[0][0]) if highest else 0


def _source(service: Service, image: Image, part: int) -> Path | Part:
    if image.purged is not None:
        raise NotFound(f"the picture of image {image.id} was removed; its scores and verdicts are kept")
    sources = service.store.sources(image)
    if part >= len(sources):
        raise NotFound(f"image {image.id} has {len(sources)} parts; count from 0")
    return sources[part]
