"""What the service plugs in where a PACS file is given: routes, and in the process that leads listener and links."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from threading import Event, Thread

from fastapi import FastAPI

from msde.errors import MSDEError
from msde.serve.logs import log
from msde.serve.pacs.dicomweb import Pacs, PacsDownError
from msde.serve.pacs.intake import Intake
from msde.serve.pacs.poller import poll
from msde.serve.pacs.receiver import receiving
from msde.serve.pacs.routes import status_router, stow_router
from msde.serve.pacs.sender import send
from msde.serve.pacs.settings import PacsFile
from msde.serve.periodic import Periodic
from msde.serve.service import Service
from msde.serve.storage.dicom_ledger import DicomLedger

SEND_SECONDS = 2.0  # pause between two looks into the outbox
_STOP_WITHIN = 3.0
_LEAD_SECONDS = 2.0


def check(file: PacsFile) -> None:
    """Check before the service starts that each archive answers as DICOMweb.

    One that does not answer at all is only logged: it may come later.

    Raises
    ------
    MSDEError
        If a library is missing, or a URL is no root of a DICOMweb service.
    """
    need_libraries()
    for settings in file.pacs:
        try:
            Pacs(settings).check()
        except PacsDownError as error:
            log("warning", "DICOM link", job=settings.name, reason=str(error))


def need_libraries() -> None:
    """Check that the libraries are there.

    Raises
    ------
    MSDEError
        If one is not.
    """
    try:
        import dicomweb_client  # noqa: F401
        import highdicom  # noqa: F401
        import pynetdicom  # noqa: F401
    except ImportError as error:
        raise MSDEError(f"--pacs needs {error.name}; run `pip install 'msde[pacs]'`") from None


@contextmanager
def plug(app: FastAPI, service: Service, file: PacsFile) -> Iterator[None]:
    """Add the routes, and run listener, pollers and senders in the process that leads.

    Parameters
    ----------
    app : FastAPI
    service : Service
        Started.
    file : PacsFile

    Raises
    ------
    MSDEError
        If the listener cannot listen.
    """
    intake = Intake(service.reception, DicomLedger(service.database), service.metrics.registry, service.refusals)
    jobs: list[Periodic] = []
    app.router.routes.extend(status_router(intake, lambda: jobs, file.destinations).routes)
    if file.stow is not None:
        app.router.routes.extend(stow_router(intake, file.stow).routes)
    stop = Event()
    with ExitStack() as stack:
        later = Thread(
            target=_take_over, args=(file, service, intake, jobs, stack, stop), name="msde-pacs", daemon=True
        )
        if service.leadership.held:
            _lead(file, service, intake, jobs, stack)
        else:
            later.start()
        try:
            yield
        finally:
            stop.set()
            if later.ident is not None:
                later.join(_STOP_WITHIN)


def _lead(file: PacsFile, service: Service, intake: Intake, jobs: list[Periodic], stack: ExitStack) -> None:
    if file.listen is not None:
        port = stack.enter_context(receiving(file.listen, intake))
        log("info", "listening for DICOM", host=file.listen.host, port=port)
    for settings in file.pacs:
        if settings.poll_seconds:
            task = partial(poll, Pacs(settings), intake)
            jobs.append(Periodic(f"poll {settings.name}", settings.poll_seconds, task))
        if settings.results:
            jobs.append(Periodic(f"send {settings.name}", SEND_SECONDS, partial(send, Pacs(settings), service)))
    stack.callback(_stop, jobs)
    for job in jobs:
        job.start()


def _stop(jobs: list[Periodic]) -> None:
    for job in jobs:
        job.stop()
    for job in jobs:
        job.join(_STOP_WITHIN / len(jobs))


def _take_over(
    file: PacsFile, service: Service, intake: Intake, jobs: list[Periodic], stack: ExitStack, stop: Event
) -> None:
    """Wait until this process leads, because the one before it has ended."""
    while not stop.wait(_LEAD_SECONDS):
        if service.leadership.held:
            try:
                return _lead(file, service, intake, jobs, stack)
            except MSDEError as error:
                log("warning", "DICOM link", job="listen", reason=str(error))
    return None
