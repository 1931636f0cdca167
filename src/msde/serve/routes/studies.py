"""Studies: where an archive's viewer shows one, and who is to look at it."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import APIRouter
from fastapi.responses import RedirectResponse
from sqlalchemy import select

from msde.errors import ImageError
from msde.images.dicom_header import read_header, read_text
from msde.serve import audit, worklist
from msde.serve.asked import Assigned, Assignment
from msde.serve.errors import Conflict, Forbidden, NotFound
from msde.serve.intake.tokens import LONGEST_USER
from msde.serve.intake.uploads import clean
from msde.serve.routes.access import REFUSALS, ImageId, Reader, Served, TokenFirst, refusals
from msde.serve.storage.tables import Image

router = APIRouter(route_class=TokenFirst, prefix="/api/images/{id}", tags=["studies"], responses=REFUSALS)
_UIDS = {"{study}": "StudyInstanceUID", "{series}": "SeriesInstanceUID", "{image}": "SOPInstanceUID"}


@router.get("/viewer", status_code=303, response_class=RedirectResponse)
def viewer(service: Served, caller: Reader, id: ImageId) -> str:
    """Lead on to the archive's viewer, by the UID in the image's header."""
    image, address = worklist.find_image(service.database, id), service.settings.viewer_url
    if not address:
        raise NotFound("no viewer is known; start the service with --viewer-url")
    path = service.store.path(image.digest, image.suffix)
    try:
        header = read_header(min(path.iterdir()) if path.is_dir() else path)
    except (ImageError, OSError, ValueError):  # purged, or being deleted
        header = None
    if header is None or not read_text(header, "StudyInstanceUID"):
        raise NotFound(f"image {id} is of no study that an archive knows, or its picture was removed")
    service.views.note(caller.user, "viewer", id)
    for place, keyword in _UIDS.items():
        address = address.replace(place, quote(read_text(header, keyword) or "", safe=""))
    return address


@router.put("/assignment", responses=refusals(409))
def assign(service: Served, caller: Reader, id: ImageId, body: Assignment) -> Assigned:
    """Say who is to look at the images of a study: a reader takes it or gives it back, an admin gives it to anybody."""
    reader = body.reader
    if reader not in (None, caller.user):
        if caller.role != "admin":
            raise Forbidden("only an admin gives a study to somebody else", caller.user)
        reader = clean(reader)[:LONGEST_USER]
    with service.database.write() as session:
        image = session.get(Image, id)
        if image is None:
            raise NotFound(f"there is no image {id}")
        same = Image.id == id if image.study is None else Image.study == image.study
        # All of them are held, in one order, so that of two readers who take different images of it one comes first.
        chosen = select(Image).where(same).order_by(Image.id).with_for_update()
        images = session.scalars(chosen.execution_options(populate_existing=True)).all()
        others = {one.assigned for one in images if one.assigned} - {reader, caller.user, body.instead_of}
        if others:
            raise Conflict(f"{' and '.join(sorted(others))} has it by now; say so by instead_of to take it over")
        for one in images:
            one.assigned = reader
        audit.record(session, caller.user, "assign", id, reader=reader, images=len(images))
    return Assigned(reader=reader, images=len(images))
