"""The one way in: what arrives is kept, entered into the database and queued."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from msde.images.passing import times_met
from msde.serve.errors import OutOfResources, TooLarge
from msde.serve.intake import uploads
from msde.serve.intake.image_rows import Batch, ImageRows, ReceivedImage, Sender
from msde.serve.intake.uploads import Refused, Upload
from msde.serve.metrics import Metrics
from msde.serve.models import Models
from msde.serve.settings import Settings
from msde.serve.storage.room import Room
from msde.serve.storage.store import Arrival, Store


@dataclass(frozen=True)
class Received:
    """What came of an upload."""

    images: list[ReceivedImage]
    refused: list[Refused]


@dataclass(frozen=True, eq=False)
class Reception:
    """Takes uploads in, whichever way they come.

    Parameters
    ----------
    settings : Settings
        With the limits of an upload.
    store, room, rows, models, metrics
        Of the service.
    wake : callable
        Called when something was queued.
    """

    settings: Settings
    store: Store
    room: Room
    rows: ImageRows
    models: Models
    metrics: Metrics
    wake: Callable[[], None]

    def ingest(self, source: bytes | Path, name: str, sender: Sender, models: Sequence[str] | None = None) -> Received:
        """Keep what arrives, and queue it.

        Parameters
        ----------
        source : bytes or Path
            A file, which is copied, or a zip; of a folder, the files in it are taken together.
        name : str
            What the sender calls it.
        sender : Sender
        models : sequence of str, optional
            Models that are to score it; by default all.

        Returns
        -------
        Received
            Files are on disk and rows committed by then.

        Raises
        ------
        Postponed
            The queue or the disk is full, or the machine has no files or memory left.
        Unsupported, TooLarge, ServiceError
            It cannot be used as it is.
        """
        self.check_room()
        with self.store.arriving() as arrival:
            if isinstance(source, Path) and source.is_dir():
                folder = arrival.folder("copies")
                paths = [path for path in sorted(source.rglob("*")) if path.is_file()]
                copies = [
                    (str(path.relative_to(source)), _copied(path, folder / str(n))) for n, path in enumerate(paths)
                ]
                return self.keep_files(copies, name, arrival, sender, models)
            if isinstance(source, bytes):
                arrival.file.write_bytes(source)
            else:
                _copied(source, arrival.file)
            if arrival.file.stat().st_size > self.settings.upload_bytes:
                raise TooLarge(f"{uploads.clean(name)}: is over the limit of {self.settings.upload_bytes:,} bytes")
            return self.keep_file(arrival, name, sender, models)

    def keep_file(self, arrival: Arrival, name: str, sender: Sender, models: Sequence[str] | None = None) -> Received:
        """Keep a file that has arrived; see `ingest`."""
        with _not_refused_for_want_of_resources():
            upload = uploads.take(arrival, name, self.store, self.settings)
        return self._queue(upload, sender, models)

    def keep_files(
        self,
        files: Sequence[tuple[str, Path]],
        name: str,
        arrival: Arrival,
        sender: Sender,
        models: Sequence[str] | None = None,
    ) -> Received:
        """Keep several files that have arrived together, of which slices of one series become one; see `ingest`."""
        if len(files) > self.settings.files:
            raise TooLarge(f"{len(files):,} files are over the limit of {self.settings.files:,}; send fewer at once")
        unpacked = arrival.folder("files")
        names = uploads.lay_out(files, unpacked)
        with _not_refused_for_want_of_resources():
            upload = uploads.take_files(unpacked, names, uploads.clean(name), self.store, arrival)
        return self._queue(upload, sender, models)

    def check_room(self, size: int = 0) -> None:
        """Refuse early, before a body of so many bytes, as far as is known, is read.

        Raises
        ------
        Busy
            The queue is full.
        Full
            The disk is.
        """
        self.room.check(size)
        self.rows.check_room()

    def _queue(self, upload: Upload, sender: Sender, models: Sequence[str] | None) -> Received:
        currents = [self.models.named(name) for name in models] if models else list(self.models)
        images = self.rows.enter(Batch(tuple(upload.kept), sender, tuple(currents)))
        for image in images:
            if not image.known:
                self.metrics.received(sender.origin)
        self.wake()
        return Received(images, upload.refused)


@contextmanager
def _not_refused_for_want_of_resources() -> Iterator[None]:
    """See that nothing is called no image because the machine's state kept it from being read."""
    met = times_met()
    try:
        yield
    finally:
        if times_met() != met:
            raise OutOfResources


def _copied(source: Path, target: Path) -> Path:
    shutil.copyfile(source, target)
    return target
