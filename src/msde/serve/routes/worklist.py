"""The worklist: which images there are, sorted, filtered, searched and put together."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy import ColumnElement

from msde.serve import search, worklist
from msde.serve.asked import Asked, Choices, Place, Sought
from msde.serve.models import Current
from msde.serve.patients import say_of_patients
from msde.serve.routes.access import REFUSALS, OfModel, Reader, Served, TokenFirst
from msde.serve.schemas import Worklist
from msde.serve.service import Service
from msde.serve.storage import sealed

router = APIRouter(route_class=TokenFirst, prefix="/api", tags=["images"], responses=REFUSALS)


@router.get("/images")
def worklist_page(service: Served, caller: Reader, current: OfModel, asked: Annotated[Asked, Query()]) -> Worklist:
    """List images with their latest scores; names of patients are not searched, since addresses are written down."""
    found = search.by_name(service.headers, asked.search) if asked.search else None
    return _listed(service, caller.user, current, asked, found)


@router.post("/worklist")
def search_worklist(service: Served, caller: Reader, current: OfModel, asked: Asked) -> Worklist:
    """List images as above, of which names and identifiers of patients are searched too."""
    return _listed(service, caller.user, current, asked, _found(service, asked))


@router.post("/worklist/place")
def place(service: Served, caller: Reader, current: OfModel, sought: Sought) -> Place:
    """Find a line of such a list: that of an image, or the next that is to be read."""
    service.views.note(caller.user, "list")
    filters = worklist.conditions(current, sought, caller.user, _found(service, sought))
    with service.database.read() as session:
        return Place(place=worklist.place(session, current, filters, sought))


def _found(service: Service, asked: Asked) -> ColumnElement[bool] | None:
    """Search names and identifiers, where there is something to be searched for."""
    if not asked.search:
        return None
    with service.database.read() as session:
        named = search.by_identifiers(session, service.headers, asked.search)
        return search.by_name(service.headers, asked.search) | named


@router.get("/choices")
def choices(service: Served, caller: Reader, current: OfModel) -> Choices:
    """List what modalities and body parts there are."""
    with service.database.read() as session:
        return worklist.choices(session, current)


def _listed(service: Service, user: str, current: Current, asked: Asked, found: ColumnElement[bool] | None) -> Worklist:
    filters = worklist.conditions(current, asked, user, found)
    with service.database.read() as session:
        total, lines = worklist.page(session, current, filters, asked)
        identifiers = service.headers.open(sealed.of(session, [image.id for image, *_ in lines]))
        calibration = None if asked.group == "image" else service.models.version(current.version_id).patients_
        patients = {image.patient for image, *_ in lines if image.patient}
        together = say_of_patients(session, current, calibration, patients)
    if identifiers:
        service.views.note(user, "list", images=tuple(sorted(identifiers)))
    else:
        service.views.note(user, "list")
    threshold = service.models.calibration(current).threshold
    return Worklist(
        model=current.name,
        version=current.number,
        alpha=current.alpha,
        total=total,
        rows=[
            worklist.row(
                current,
                threshold,
                image,
                score,
                version,
                together=counted,
                identifiers=identifiers.get(image.id),
                patient=together.get(image.patient or ""),
            )
            for image, score, version, counted in lines
        ],
    )
