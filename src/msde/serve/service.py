"""Everything behind the routes, put together: started once a process, stopped in order."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import func, select

from msde.errors import MSDEError
from msde.method.parallel import available_cores
from msde.serve.audit import Looks
from msde.serve.errors import Busy, NotFound, TooLarge
from msde.serve.intake import uploads
from msde.serve.intake.auth import Gate
from msde.serve.intake.image_rows import Entry, ImageRows, ReceivedImage
from msde.serve.intake.uploads import Refused, Upload
from msde.serve.logs import log, log_failure
from msde.serve.metrics import Metrics, gauge
from msde.serve.models import Current, Models
from msde.serve.reference_normals import ReferenceNormals
from msde.serve.scoring import Scorers, judge
from msde.serve.settings import Settings
from msde.serve.storage import queue
from msde.serve.storage.database import Database
from msde.serve.storage.queue import Outcome
from msde.serve.storage.store import Arrival, Store, sync
from msde.serve.storage.tables import Identity, Image, Outgoing
from msde.serve.worklist import drift_of

REFRESH = 2.0
_OUTLIVED = 15.0  # seconds in which a process whose parent was killed notices and ends
_WAITING_PER_CORE = 32  # answers to POST /api/score that may be pending


@dataclass(frozen=True)
class Received:
    """What came of an upload."""

    images: list[ReceivedImage]
    refused: list[Refused]


class Service:
    """The service without its routes.

    Parameters
    ----------
    settings : Settings

    Attributes
    ----------
    settings, database, store, models, metrics, gate, looks, comparison
    destinations : list of str
        Where results of DICOM images are sent.
    leads : bool
        Whether this process is the one, of several, that is to run what runs once.
    ready : bool
        Whether requests are answered.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        settings.folder.mkdir(parents=True, exist_ok=True)
        self.metrics = Metrics()
        self.database = Database(settings.url)
        self.store = Store(settings.folder)
        self.gate = Gate(settings)
        self.looks = Looks(self.database)
        self.models = Models(self.database, settings.folder, settings.models, settings.device, self.metrics)
        self.comparison = ReferenceNormals(self.models, settings.normals)
        self.destinations: list[str] = []
        self.leads = False
        self.ready = False
        self._registrar = ImageRows(self.database, self.store, settings.queue)
        self._cores = max(1, available_cores() // settings.workers)
        self._at_once = ThreadPoolExecutor(self._cores, thread_name_prefix="msde-once")
        self._pending = 0
        self._pending_lock = threading.Lock()
        self._scorers: Scorers | None = None
        self._stop = threading.Event()
        self._leader_file: IO[str] | None = None
        self._workers_file: IO[str] | None = None
        self.metrics.ask(self._gauges)

    def start(self) -> None:
        """Start scoring and watching model files.

        Raises
        ------
        MSDEError
            If a model cannot be served.
        """
        self._workers_file = (self.settings.folder / "workers.lock").open("w")
        fcntl.flock(self._workers_file, fcntl.LOCK_SH)
        self.models.start()
        self._try_to_lead()
        if self.settings.pacs:
            self.destinations = _pacs_destinations(self.settings)
        self._scorers = Scorers(
            self.database, self.store, self.models, self.metrics, self.destinations, threads=self._cores + 1
        )
        self._scorers.start()
        for job in (self._refresh, self.comparison.embed):
            threading.Thread(target=job, name=f"msde-{job.__name__}", daemon=True).start()
        self.ready = True

    def stop(self) -> None:
        """Finish or give back what is at hand."""
        self.ready = False
        self._stop.set()
        self.comparison.stop()
        if self._scorers is not None:
            self._scorers.stop()
        self._at_once.shutdown(wait=True, cancel_futures=True)
        self.database.close()
        for file in (self._leader_file, self._workers_file):
            if file is not None:
                file.close()

    def ingest(self, source: bytes | Path, name: str, origin: str, models: Sequence[str] | None = None) -> Received:
        """Keep what arrives, and queue it.

        Parameters
        ----------
        source : bytes or Path
            A file, which is copied, or a zip; of a folder, the files in it are taken together.
        name : str
            What the sender calls it.
        origin : str
            Where it comes from, such as "rest" or "dimse:TITLE".
        models : sequence of str, optional
            Models that are to score it; by default all.

        Returns
        -------
        Received
            Files are on disk and rows committed by then.

        Raises
        ------
        Busy
            The queue is full.
        Unsupported, TooLarge, ServiceError
            What it is cannot be used.
        """
        self.check_room()
        with self.store.arriving() as arrival:
            if isinstance(source, Path) and source.is_dir():
                folder = arrival.folder("copies")
                found = [path for path in sorted(source.rglob("*")) if path.is_file()]
                copies = [
                    (str(path.relative_to(source)), _copied(path, folder / str(n))) for n, path in enumerate(found)
                ]
                return self.keep_files(copies, name, arrival, origin, models)
            if isinstance(source, bytes):
                arrival.file.write_bytes(source)
            else:
                _copied(source, arrival.file)
            if arrival.file.stat().st_size > self.settings.upload_bytes:
                raise TooLarge(f"{uploads.clean(name)}: is over the limit of {self.settings.upload_bytes:,} bytes")
            return self.keep_file(arrival, name, origin, models)

    def keep_file(self, arrival: Arrival, name: str, origin: str, models: Sequence[str] | None = None) -> Received:
        """Keep a file that has arrived; see `ingest`."""
        return self._queue(uploads.take(arrival, name, self.store, self.settings), origin, models)

    def keep_files(
        self,
        files: Sequence[tuple[str, Path]],
        name: str,
        arrival: Arrival,
        origin: str,
        models: Sequence[str] | None = None,
    ) -> Received:
        """Keep several files that have arrived together, of which slices of one series become one; see `ingest`."""
        if len(files) > self.settings.files:
            raise TooLarge(f"{len(files):,} files are over the limit of {self.settings.files:,}; send fewer at once")
        unpacked = arrival.folder("files")
        names = uploads.lay_out(files, unpacked)
        upload = uploads.take_files(unpacked, names, uploads.clean(name), self.store, arrival)
        return self._queue(upload, origin, models)

    def check_room(self) -> None:
        """Refuse early, before a body is read.

        Raises
        ------
        Busy
            The queue is full.
        """
        self._registrar.check_room()

    def score_at_once(self, path: Path, name: str, current: Current) -> Outcome:
        """Score a file that is not kept.

        Raises
        ------
        Busy
            Too many wait.
        """
        with self._pending_lock:
            if self._pending >= self._cores * _WAITING_PER_CORE:
                raise Busy("too many requests wait; send it again after the seconds of Retry-After", retry_after=1)
            self._pending += 1
        try:
            return self._at_once.submit(self._judge_file, path, name, current).result()
        finally:
            with self._pending_lock:
                self._pending -= 1

    def image(self, image_id: int) -> Image:
        """Find an image.

        Raises
        ------
        NotFound
        """
        with self.database.read() as session:
            image = session.get(Image, image_id)
        if image is None:
            raise NotFound(f"there is no image {image_id}")
        return image

    def _judge_file(self, path: Path, name: str, current: Current) -> Outcome:
        from msde.images import expanded

        name = uploads.clean(name)
        model = self.models.version(current.version_id)
        return judge(model, [(name, list(expanded([path])))], self._stop.is_set)[0]

    def _queue(self, upload: Upload, origin: str, models: Sequence[str] | None) -> Received:
        currents = [self.models.named(name) for name in models] if models else list(self.models)
        entry = Entry(tuple(upload.kept), origin[:200], tuple(currents))
        images = self._registrar.enter(entry)
        for image in images:
            if not image.known:
                self.metrics.received(origin)
        if self._scorers is not None:
            self._scorers.wake()
        return Received(images, upload.refused)

    def _refresh(self) -> None:
        parent = os.getppid()
        while not self._stop.wait(REFRESH):
            if self.settings.workers > 1 and os.getppid() != parent:  # the parent was killed, and its port is wanted
                os.kill(os.getpid(), signal.SIGTERM)
            try:
                self._try_to_lead()
                self.models.refresh()
            except Exception as error:  # nothing that may pass must end the thread
                log_failure("models could not be looked up", error)

    def _try_to_lead(self) -> None:
        """Take the lock that one process at a time holds; it goes with the process, however that ends."""
        if self._leader_file is None:
            self._leader_file = (self.settings.folder / "leader.lock").open("w")
        if not self.leads:
            with suppress(OSError):
                fcntl.flock(self._leader_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self.leads = True

    def _gauges(self) -> Iterator[Metric]:
        with self.database.read() as session:
            waiting = queue.depth(session)
            states = select(Outgoing.state, func.count()).group_by(Outgoing.state)
            outgoing = {state: float(n) for state, n in session.execute(states)}
        yield GaugeMetricFamily("msde_queue_images", "Images that wait or are being scored.", waiting)
        yield gauge("msde_outbox_results", "Results to send elsewhere, by state.", "state", outgoing)
        versions = {current.name: float(current.number) for current in self.models}
        yield gauge("msde_model_version", "Number of the current version of a model.", "model", versions)
        drift = {current.name: drift_of(self.database, self.models, current).distance for current in self.models}
        yield gauge("msde_drift_distance", "Kolmogorov-Smirnov distance of the latest scores.", "model", drift)


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
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise MSDEError(f"{folder}: cannot be written ({error.strerror}); give another folder for --data") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise MSDEError(f"{folder}: another service uses this folder; stop it, or give another --data") from None
    database = Database(settings.url)
    try:
        if settings.pacs:
            _pacs_destinations(settings)
        _wait_for_workers(folder)
        database.upgrade()
        store = Store(folder)
        _check_pair(database, store, folder / "database-id")
        with database.write() as session:
            queue.give_back(session)
            known = set(session.scalars(select(Image.digest)))
        for left in (folder / "models").glob("*.part"):
            left.unlink()
        # Once before all processes, so that what cannot be served is said in one line.
        Models(database, folder, settings.models, settings.device, Metrics()).start()
        lost = store.sweep(known)
        if lost:
            log("info", "files of interrupted uploads were removed", files=lost)
    except BaseException:
        lock.close()
        raise
    finally:
        database.close()
    return lock


def _wait_for_workers(folder: Path) -> None:
    """Wait for processes that have outlived their parent, for what they have received could be swept away."""
    until = time.monotonic() + _OUTLIVED
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
    """Refuse images of another database, for all that this one does not know are about to be swept away."""
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


def _pacs_destinations(settings: Settings) -> list[str]:
    from msde.serve import pacs

    return pacs.destinations(Path(settings.pacs))


def _copied(source: Path, target: Path) -> Path:
    shutil.copyfile(source, target)
    return target
