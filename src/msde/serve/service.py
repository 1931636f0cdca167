"""Everything behind the routes, put together; `msde.serve.lifecycle` starts and stops it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from threading import Event

from msde.method.parallel import available_cores
from msde.model.nearest_labelled import NearestLabelled
from msde.model.nearest_normals import NearestNormals
from msde.serve.at_once import AtOnce
from msde.serve.audit import Refusals, Views
from msde.serve.drawing import Drawing
from msde.serve.erasure import Forgetting
from msde.serve.events import Events
from msde.serve.gauges import gauges
from msde.serve.health import Health
from msde.serve.identifiers import Vault
from msde.serve.intake.auth import Gate
from msde.serve.intake.headers import Headers
from msde.serve.intake.image_rows import ImageRows
from msde.serve.intake.reception import Reception
from msde.serve.leadership import Leadership
from msde.serve.metrics import Metrics
from msde.serve.models import Models
from msde.serve.reference_images import ReferenceImages
from msde.serve.scoring import Scorers
from msde.serve.settings import Settings
from msde.serve.storage.database import Database
from msde.serve.storage.room import Room
from msde.serve.storage.secret import read_secret
from msde.serve.storage.store import Store
from msde.serve.workers import Seats


@dataclass(frozen=True, eq=False)
class Service:
    """The parts of the service, each documented by its class.

    Parameters
    ----------
    leadership : Leadership
        Whether this process is the one, of several, that is to run what runs once.
    ready, stopping : threading.Event
        Whether requests are answered, and whether what is under way is to be broken off.
    """

    settings: Settings
    metrics: Metrics
    database: Database
    store: Store
    room: Room
    gate: Gate
    views: Views
    headers: Headers
    refusals: Refusals
    events: Events
    models: Models
    normals: ReferenceImages
    labelled: ReferenceImages
    scorers: Scorers
    at_once: AtOnce
    drawing: Drawing
    reception: Reception
    forgetting: Forgetting
    leadership: Leadership
    seats: Seats
    health: Health
    ready: Event
    stopping: Event

    @classmethod
    def of(cls, settings: Settings, destinations: Sequence[str] = (), receivers: Sequence[str] = ()) -> Service:
        """Put the service together.

        Parameters
        ----------
        settings : Settings
        destinations : sequence of str
            Names of the archives to which results of DICOM images are sent.
        receivers : sequence of str
            Names of those who are told of flagged studies.

        Raises
        ------
        MSDEError
            If database or tokens cannot be used.
        """
        folder = settings.folder
        folder.mkdir(parents=True, exist_ok=True)
        metrics, database, store, stopping = Metrics(), Database(settings.url), Store(folder), Event()
        models = Models(database, folder, settings.models, settings.device, metrics)
        threads = max(1, available_cores() // settings.workers)
        scorers = Scorers(database, store, models, metrics, destinations, threads + 1, receivers)
        room, seats = Room(folder, settings.reserve), Seats(folder, settings.workers)
        headers = Headers(read_secret(folder / "secret"), Vault.of(settings))
        rows = ImageRows(database, store, settings.queue, headers)
        metrics.ask(partial(gauges, database, models))
        return cls(
            settings=settings,
            metrics=metrics,
            database=database,
            store=store,
            room=room,
            gate=Gate(settings, database),
            views=Views(database),
            headers=headers,
            refusals=Refusals(database),
            events=Events(database, settings.connections // 2, metrics.listening),
            models=models,
            normals=ReferenceImages(models, settings.normals_of, folder / "normals", NearestNormals),
            labelled=ReferenceImages(models, settings.abnormal_of, folder / "labelled", NearestLabelled),
            scorers=scorers,
            at_once=AtOnce(models, threads, stopping.is_set),
            drawing=Drawing(max(2, threads)),
            reception=Reception(settings, store, room, rows, models, metrics, scorers.wake),
            forgetting=Forgetting(database, store, models.recent),
            leadership=Leadership(folder / "leader.lock"),
            seats=seats,
            health=Health(
                (
                    ("no model can be served", lambda: len(models) > 0),
                    ("the database cannot be written", database.can_write),
                    ("the disk has less room than its reserve", room.has),
                    ("a thread that scores has ended and cannot be replaced", scorers.replace_dead),
                    ("a worker process has ended and was not replaced", seats.are_taken),
                )
            ),
            ready=Event(),
            stopping=stopping,
        )
