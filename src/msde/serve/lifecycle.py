"""How the service starts and stops: the data folder is brought into order, then one or more processes run at it."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from threading import Thread
from typing import IO

from sqlalchemy import select

from msde.errors import MSDEError
from msde.serve import health, learning
from msde.serve.audit import SERVICE
from msde.serve.erasure import purge
from msde.serve.identifiers import Vault
from msde.serve.intake.earlier_headers import read_earlier
from msde.serve.logs import log, log_failure
from msde.serve.memory import Memory
from msde.serve.metrics import Metrics
from msde.serve.models import Models
from msde.serve.service import Service
from msde.serve.settings import Settings
from msde.serve.storage import audit_chain, queue, sealed
from msde.serve.storage.database import Database
from msde.serve.storage.privacy import make_private
from msde.serve.storage.room import Room
from msde.serve.storage.store import Store, sync
from msde.serve.storage.tables import Identity, Image

HOUR = 3600.0
REFRESH = 2.0  # seconds between two looks at the model files
_JOIN = 3.0  # seconds that the jobs are waited for at the end; they are daemons, so none can hold the process up
OUTLIVED = 15.0  # seconds in which a process whose parent was killed notices and ends


@contextmanager
def running(service: Service) -> Iterator[None]:
    """Score what is queued and watch the model files; at the end finish or give back what is being scored.

    Parameters
    ----------
    service : Service
        Of which `prepare` has brought the data folder into order.

    Raises
    ------
    MSDEError
        If a model cannot be served.
    """
    with ExitStack() as stack:
        shared = stack.enter_context((service.settings.folder / "workers.lock").open("w"))
        stack.callback(service.leadership.give_up)
        stack.callback(service.seats.leave)
        stack.callback(service.database.close)
        stack.callback(service.at_once.stop)
        stack.callback(service.drawing.stop)
        fcntl.flock(shared, fcntl.LOCK_SH)
        stack.enter_context(_unpacking_in(service.store.incoming))
        service.models.start()
        service.leadership.seek()
        service.scorers.start()
        stack.callback(service.scorers.stop)
        stack.callback(service.refusals.flush, 0)
        service.health.look()
        service.forgetting.look()
        jobs: dict[str, Callable[[], object]] = {
            "refresh": partial(_refresh, service),
            "health": partial(_look, service),
            "embed": service.normals.embed,
            "embed-labelled": service.labelled.embed,
            "keep": partial(_keep_house, service),
        }
        threads = [Thread(target=job, name=f"msde-{name}", daemon=True) for name, job in jobs.items()]
        for thread in threads:
            thread.start()
        stack.callback(_join, threads)
        stack.callback(service.normals.stop)
        stack.callback(service.labelled.stop)
        stack.callback(service.stopping.set)
        service.ready.set()
        stack.callback(service.ready.clear)
        yield


def _join(threads: Sequence[Thread]) -> None:
    """Wait until no job uses the database any more, so that it is closed whole."""
    latest = time.monotonic() + _JOIN
    for thread in threads:
        thread.join(max(latest - time.monotonic(), 0.0))


def prepare(settings: Settings) -> IO[str]:
    """Bring a data folder into order before the service starts, as the only process at it.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    file
        Holds the lock on the folder until it is closed, or the process ends.

    Raises
    ------
    MSDEError
        If another service has the folder, if its images are another database's, or if folder, database or a model
        cannot be used.
    """
    folder = settings.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        make_private(folder)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise MSDEError(f"{folder}: cannot be written ({error.strerror}); give another folder for --data") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise MSDEError(f"{folder}: another service uses this folder; stop it, or give another --data") from None
    room = Room(folder, settings.reserve)
    room.drop_ballast()
    database = Database(settings.url)
    try:
        _wait_for_workers(folder)
        database.upgrade(folder)
        store = Store(folder)
        _check_pair(database, store, folder / "database-id")
        with database.write() as session:
            queue.give_back(session)
            learning.give_up_all(session)
            vault = Vault.of(settings)
            sealed.drop(session, but=None if vault is None else vault.mark)
            known = set(session.scalars(select(Image.digest).where(Image.purged.is_(None))))
        for left in (folder / "models").glob("*.part"):
            left.unlink()
        shutil.rmtree(folder / "cache", ignore_errors=True)  # where earlier versions kept embeddings of images
        # Once before all processes, so that a model that cannot be served is one line of an error.
        Models(database, folder, settings.models, settings.device, Metrics()).start()
        lost = store.sweep(known)
        room.keep_ballast()
        if lost:
            log("info", "files of interrupted uploads were removed", files=lost)
    except BaseException:
        lock.close()
        raise
    finally:
        database.close()
    return lock


def _refresh(service: Service) -> None:
    """Look at the model files every few seconds, and lead if no other process does."""
    parent = os.getppid()
    while not service.stopping.wait(REFRESH):
        if service.settings.workers > 1 and os.getppid() != parent:  # the parent was killed, and its port is wanted
            os.kill(os.getpid(), signal.SIGTERM)
        try:
            service.leadership.seek()
            service.refusals.flush()
            service.forgetting.look()
            service.models.refresh()
        except Exception as error:  # nothing that may pass must end the thread
            log_failure("models could not be looked up", error)


@contextmanager
def _unpacking_in(folder: Path) -> Iterator[None]:
    """Have what is unpacked on the way to a score written there: the system's folder for it may be in memory."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


def _look(service: Service) -> None:
    """Find out every few seconds whether the service can do its work, and give back memory that it does not need."""
    memory = Memory(service.models.give_back)
    while not service.stopping.wait(health.LOOK):
        try:
            service.health.look()
            service.room.keep_ballast()
            memory.look()
        except Exception as error:  # nothing that may pass must end the thread
            log_failure("the service could not look after itself", error)


def _keep_house(service: Service) -> None:
    """Each hour, where this process leads: remove what is kept no longer, read headers, tell how the audit log ends."""
    while True:
        try:
            if service.leadership.held:
                if service.settings.keep:
                    keep = timedelta(seconds=service.settings.keep)
                    purged = purge(service.database, service.store, keep, SERVICE)
                    log("info", "pictures were kept for as long as they are to be", removed=purged)
                read = read_earlier(service.database, service.store, service.headers, service.stopping.is_set)
                if read:
                    log("info", "headers of earlier images were read", images=read)
                with service.database.read() as session:  # to be noted where nobody of here can alter it
                    log("info", "audit log", digest=audit_chain.head(session))
        except Exception as error:  # nothing that may pass must end the thread
            log_failure("the hourly work failed", error)
        if service.stopping.wait(HOUR):
            return


def _wait_for_workers(folder: Path) -> None:
    """Wait for processes that have outlived their parent, because what they have received could be swept away."""
    until = time.monotonic() + OUTLIVED
    with (folder / "workers.lock").open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError:
                if time.monotonic() > until:
                    raise MSDEError(f"{folder}: processes of a service that was killed still run; end them") from None
            time.sleep(0.1)


def _check_pair(database: Database, store: Store, file: Path) -> None:
    """Refuse images of another database, because all that this one does not know are about to be swept away."""
    with database.read() as session:
        name = session.scalars(select(Identity.id)).one()
        stated = file.read_text("utf-8", "replace") if file.exists() else ""
        if stated == name:
            return
        known = set(session.scalars(select(Image.digest)))
    images = store.digests()
    if images and (stated or images.isdisjoint(known)):  # no name is stated where an earlier version had the folder
        raise MSDEError(
            f"{file.parent}: its images are not of this database; give theirs by --database or put their msde.db back,"
            " or give another --data"
        )
    file.write_text(name, "utf-8")
    sync(file)
