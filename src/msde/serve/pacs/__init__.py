"""The service's DICOM side: images in by C-STORE, STOW-RS and polling, results out by STOW-RS; needs `msde[pacs]`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from msde.errors import MSDEError
from msde.serve.logs import log

if TYPE_CHECKING:
    from fastapi import FastAPI

    from msde.serve.pacs.intake import Intake
    from msde.serve.pacs.periodic import Periodic
    from msde.serve.pacs.settings import Settings
    from msde.serve.service import Service

SEND_SECONDS = 2.0  # pause between two looks into the outbox
_STOP_WITHIN = 3.0
_LEAD_SECONDS = 2.0


def destinations(path: Path) -> list[str]:
    """List the names of the archives to which results of DICOM images go.

    Parameters
    ----------
    path : Path
        The PACS file.

    Raises
    ------
    DataError
        If it cannot be used.
    """
    from msde.serve.pacs.settings import Settings

    return [pacs.name for pacs in Settings.read(path).pacs if pacs.results]


def check(path: Path) -> None:
    """Find out before the service starts whether the file can be used and each archive answers as DICOMweb.

    One that does not answer at all is only written down: it may come later.

    Raises
    ------
    MSDEError
        If the file is wrong, a library is missing, or a URL is no root of a DICOMweb service.
    """
    from msde.serve.pacs.settings import Settings

    settings = Settings.read(path)
    try:
        import dicomweb_client  # noqa: F401
        import highdicom  # noqa: F401
        import pynetdicom  # noqa: F401
    except ImportError as error:
        raise MSDEError(f"--pacs needs {error.name}; run `pip install 'msde[pacs]'`") from None
    from msde.serve.pacs.dicomweb import Pacs, PacsDownError

    for one in settings.pacs:
        try:
            Pacs(one).check()
        except PacsDownError as error:
            log("warning", "DICOM link", job=one.name, reason=str(error))


@contextmanager
def plug(app: FastAPI, service: Service, path: Path) -> Iterator[None]:
    """Add the routes, and run listener, pollers and senders in the process that leads.

    Parameters
    ----------
    app : FastAPI
    service : msde.serve.service.Service
        Started.
    path : Path
        The PACS file.

    Raises
    ------
    MSDEError
        If the file is wrong, or the listener cannot listen.
    """
    from msde.serve.pacs.intake import Intake
    from msde.serve.pacs.ledger import Ledger
    from msde.serve.pacs.routes import status_router, stow_router
    from msde.serve.pacs.settings import Settings

    settings = Settings.read(path)
    intake = Intake(service, Ledger(service.settings.folder))
    jobs: list[Periodic] = []
    app.include_router(status_router(intake, lambda: jobs))
    if settings.stow is not None:
        app.include_router(stow_router(intake, settings.stow))
    stop = threading.Event()
    with ExitStack() as stack:
        later = threading.Thread(
            target=_take_over, args=(settings, service, intake, jobs, stack, stop), name="msde-pacs", daemon=True
        )
        if service.leads:
            _lead(settings, service, intake, jobs, stack)
        else:
            later.start()
        try:
            yield
        finally:
            stop.set()
            if later.ident is not None:
                later.join(_STOP_WITHIN)


def _lead(settings: Settings, service: Service, intake: Intake, jobs: list[Periodic], stack: ExitStack) -> None:
    from msde.serve.pacs.dicomweb import Pacs
    from msde.serve.pacs.periodic import Periodic
    from msde.serve.pacs.poller import poll
    from msde.serve.pacs.receiver import receiving
    from msde.serve.pacs.sender import send

    if settings.listen is not None:
        port = stack.enter_context(receiving(settings.listen, intake))
        log("info", "listening for DICOM", host=settings.listen.host, port=port)
    for one in settings.pacs:
        if one.poll_seconds:
            jobs.append(Periodic(f"poll {one.name}", one.poll_seconds, partial(poll, Pacs(one), intake)))
        if one.results:
            jobs.append(Periodic(f"send {one.name}", SEND_SECONDS, partial(send, Pacs(one), service)))
    stack.callback(_stop, jobs)
    for job in jobs:
        job.start()


def _stop(jobs: list[Periodic]) -> None:
    for job in jobs:
        job.stop()
    for job in jobs:
        job.join(_STOP_WITHIN / len(jobs))


def _take_over(
    settings: Settings, service: Service, intake: Intake, jobs: list[Periodic], stack: ExitStack, stop: threading.Event
) -> None:
    """Wait until this process leads, because the one before it has ended."""
    while not stop.wait(_LEAD_SECONDS):
        if service.leads:
            try:
                return _lead(settings, service, intake, jobs, stack)
            except MSDEError as error:
                log("warning", "DICOM link", job="listen", reason=str(error))
    return None
