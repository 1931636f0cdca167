"""The models served: their versions, kept for good, and the one of each that is current."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from msde.errors import ModelFileError, MSDEError
from msde.images.passing import is_passing
from msde.method.calibration import Calibration, is_rate
from msde.model.anomaly_model import AnomalyModel
from msde.serve.errors import Conflict, NotFound, OutOfRange
from msde.serve.logs import log, log_failure
from msde.serve.metrics import Metrics
from msde.serve.recent import RecentEmbeddings
from msde.serve.storage import queue
from msde.serve.storage.database import Database
from msde.serve.storage.store import sync
from msde.serve.storage.tables import Model, Version
from msde.storage.digests import digest_of

_LOADED = 6  # versions kept in memory
_TOLERANCE = 1e-12  # p-values are fractions, alpha a decimal


@dataclass(frozen=True)
class Current:
    """A model as it is now.

    Parameters
    ----------
    model_id, version_id, number : int
        The number is the version's within the model.
    name : str
    alpha : float
        The false-alarm rate in use.
    own_alpha : float
        That which the version itself was made for.
    """

    model_id: int
    version_id: int
    number: int
    name: str
    alpha: float
    own_alpha: float

    @property
    def highest_p(self) -> float:
        """The largest p-value that is flagged."""
        return self.alpha + _TOLERANCE


@dataclass(frozen=True)
class Made:
    """A model that was made of a version and is kept, but no version yet.

    Parameters
    ----------
    sha256 : str
        Of its file.
    origin : str
        How it was made, in words.
    n_normals : int
        Number of held-out normals that calibrate it.
    model : AnomalyModel
    """

    sha256: str
    origin: str
    n_normals: int
    model: AnomalyModel


class Models:
    """Model files and their versions.

    Parameters
    ----------
    database : Database
    data : Path
        The service's data folder.
    files : iterable of path
        Named at the start.
    device : {"cpu", "openvino", "cuda"}
    metrics : Metrics

    Attributes
    ----------
    recent : RecentEmbeddings
        That the models share.
    """

    def __init__(
        self, database: Database, data: Path, files: Iterable[str | os.PathLike[str]], device: str, metrics: Metrics
    ) -> None:
        self._database, self._device, self._metrics = database, device, metrics
        self._folder = data / "models"
        self._folder.mkdir(parents=True, exist_ok=True)
        self.recent = RecentEmbeddings()
        self._files = {Path(file).stem: Path(file) for file in files}
        self._stamps: dict[str, tuple[int, int, int]] = {}
        self._loaded: dict[int, AnomalyModel] = {}
        self._current: dict[str, Current] = {}
        self._lock = Lock()

    def __iter__(self) -> Iterator[Current]:
        """List the models in the order in which they were named."""
        return iter(self._current.values())

    def __len__(self) -> int:
        return len(self._current)

    def start(self) -> None:
        """Read all files named; later changes are found by `refresh`.

        Raises
        ------
        MSDEError
            If one cannot be served.
        """
        for name, path in self._files.items():
            if not path.is_file():
                raise ModelFileError(f"{path}: no such file; make a model with `msde fit NORMALS -o {path}`")
            self._stamps[name] = _stamp(path)
            try:
                self._take(name, path)
            except OSError as error:
                raise ModelFileError(f"{path}: cannot be read and kept ({error.strerror}); make room") from error
        self._look_up()

    def refresh(self) -> None:
        """Read model files that have changed, and look up which versions other processes have made current."""
        for name, path in self._files.items():
            try:
                stamp = _stamp(path)
            except OSError:
                continue  # being replaced, or gone: what was read is served on
            if stamp == self._stamps.get(name):
                continue
            try:
                if self._take(name, path):
                    self._metrics.reloaded(good=True)
                    log("info", "a new model file is served", model=name)
            except MSDEError as error:
                if is_passing(error):
                    log_failure("a changed model file could not be read; it is tried again", error)
                    continue
                self._metrics.reloaded(good=False)
                reason = str(error).replace(str(path), path.name)
                log("error", "a changed model file is refused; the version before it stays", model=name, reason=reason)
            except OSError as error:
                log_failure("a changed model file could not be read; it is tried again", error)
                continue
            self._stamps[name] = stamp
        self._look_up()

    def named(self, name: str | None) -> Current:
        """Find a model by name, by default the first.

        Raises
        ------
        NotFound
        """
        if name is None and self._current:
            return next(iter(self._current.values()))
        if name not in self._current:
            raise NotFound(f"no model of this name is served; there are: {', '.join(self._current) or 'none'}")
        return self._current[name]

    def version(self, version_id: int) -> AnomalyModel:
        """Return a version, loaded.

        Raises
        ------
        NotFound
            If there is none.
        ModelFileError
            If its file is damaged.
        """
        with self._lock:
            model = self._loaded.pop(version_id, None)
            if model is None:
                with self._database.read() as session:
                    version = session.get(Version, version_id)
                if version is None:
                    raise NotFound("there is no such version of the model")
                model = self._load(self._path(version.sha256))
            self._loaded[version_id] = model  # the last is the latest used
            while len(self._loaded) > max(_LOADED, 2 * len(self._files)):
                self._loaded.pop(next(iter(self._loaded)))
            return model

    def give_back(self) -> None:
        """Give back the memory that networks keep for passes to come."""
        for model in list(self._loaded.values()):
            model.session.give_back()

    def calibration(self, current: Current) -> Calibration:
        """Return the calibration at the rate in use."""
        own = self.version(current.version_id).calibration_
        return replace(own, alpha=current.alpha)

    def at_rate(self, current: Current, alpha: float) -> Current:
        """Return a model at another false-alarm rate.

        Raises
        ------
        OutOfRange
            If the version has too few held-out normals to flag anything at that rate, which is not its own or in use.
        """
        asked = replace(current, alpha=alpha)
        if alpha not in (current.alpha, current.own_alpha) and not self.calibration(asked).rank:
            raise OutOfRange(
                f"too few held-out normals to flag any image at a false-alarm rate of {alpha:g}; give"
                f" {self.calibration(asked).resolution:.2g} or more"
            )
        return asked

    def set_alpha(self, session: Session, current: Current, alpha: float | None) -> None:
        """Set the false-alarm rate of a model; None for the version's own."""
        self._row(session, current).alpha = alpha

    def set_version(self, session: Session, current: Current, number: int, instead_of: int | None = None) -> None:
        """Make a version current.

        Parameters
        ----------
        session : Session
        current : Current
        number : int
        instead_of : int, optional
            Number of the version that has to be current still.

        Raises
        ------
        NotFound
        Conflict
            If another than `instead_of` is current.
        """
        version_id = _numbered(session, current, number)
        before = None if instead_of is None else _numbered(session, current, instead_of)
        self._replace(session, current, version_id, before)
        queue.prefer(session, current.model_id, version_id)

    def make(self, current: Current, change: Callable[[AnomalyModel], tuple[AnomalyModel, str]]) -> Made:
        """Keep a changed copy of the current version; `add` makes it a version.

        Parameters
        ----------
        current : Current
        change : callable
            Called with a copy of the model; returns what it made of it, and how, in words.
        """
        with self._database.read() as session:
            before = session.get_one(Version, current.version_id)
        model, origin = change(self._load(self._path(before.sha256)))
        unnamed = self._folder / f"{uuid.uuid4().hex}.part"
        try:
            model.save(unnamed)
            sha256 = self._file(unnamed)
        finally:
            unnamed.unlink(missing_ok=True)
        return Made(sha256, origin, len(model.calibration_.scores), model)

    def add(self, session: Session, current: Current, made: Made, made_by: str) -> int:
        """Make what was kept a version, by the name of who asked for it; return its id."""
        row = self._row(session, current, lock=True)
        return _version(session, row, made.sha256, made.origin, made_by, made.n_normals)

    def adopt(self, session: Session, current: Current, version_id: int) -> None:
        """Make a new version current, unless another became so in the meantime.

        Raises
        ------
        Conflict
            If another did.
        """
        self._replace(session, current, version_id, current.version_id)

    def _replace(self, session: Session, current: Current, version_id: int, before: int | None) -> None:
        row = self._row(session, current, lock=True)
        if before is not None and row.version_id != before:
            raise Conflict("another version of the model became current in the meantime; look again, then repeat")
        row.version_id = version_id

    def _take(self, name: str, path: Path) -> bool:
        """Make a file's content a version, and the current one where the file has changed; return whether it has."""
        unnamed = self._folder / f"{uuid.uuid4().hex}.part"
        try:
            if self._is_known(name, digest_of(path)):  # first, because there may be no room for a copy
                return False
            shutil.copyfile(path, unnamed)
            sha256 = digest_of(unnamed)
            model = self._load(unnamed)
            if model.scorer_.batchwise:
                raise MSDEError(f"{path}: is transductive, whose scores depend on the batch; fit without --mode")
            self._file(unnamed)
        finally:
            unnamed.unlink(missing_ok=True)
        with self._database.write() as session:
            fresh = {"name": name, "file_sha256": ""}
            session.execute(self._database.insert(Model).values(fresh).on_conflict_do_nothing())
            row = session.scalars(select(Model).where(Model.name == name).with_for_update()).one()
            row.version_id = _version(session, row, sha256, "file", "", len(model.calibration_.scores))
            row.file_sha256 = sha256
        return True

    def _is_known(self, name: str, sha256: str) -> bool:
        """Whether this is the file that was read last under the name."""
        with self._database.read() as session:
            return session.scalar(select(Model.file_sha256).where(Model.name == name)) == sha256

    def _look_up(self) -> None:
        with self._database.read() as session:
            chosen = select(Model, Version).join(Version, Version.id == Model.version_id)
            rows = {model.name: (model, version) for model, version in session.execute(chosen)}
        found = {}
        for name in self._files:
            if name not in rows:
                continue
            row, version = rows[name]
            try:
                own = self.version(version.id).calibration_.alpha
            except MSDEError as error:
                log("error", "a version cannot be loaded; the one before it stays", model=name, reason=str(error))
                if name in self._current:
                    found[name] = self._current[name]
                continue
            alpha = row.alpha if row.alpha is not None and is_rate(row.alpha) else own
            found[name] = Current(row.id, version.id, version.number, name, alpha, own)
        self._current = found

    def _load(self, path: Path) -> AnomalyModel:
        return AnomalyModel.load(path, self.recent, self._device)

    def _path(self, sha256: str) -> Path:
        return self._folder / f"{sha256}.msde"

    def _file(self, unnamed: Path) -> str:
        """Put a model file under its digest."""
        sha256 = digest_of(unnamed)
        if not self._path(sha256).exists():
            sync(unnamed)
            unnamed.rename(self._path(sha256))
            sync(self._folder)
        return sha256

    def _row(self, session: Session, current: Current, *, lock: bool = False) -> Model:
        chosen = select(Model).where(Model.id == current.model_id)
        return session.scalars(chosen.with_for_update() if lock else chosen).one()


def _numbered(session: Session, current: Current, number: int) -> int:
    """Find a version by its number."""
    chosen = select(Version.id).where(Version.model_id == current.model_id, Version.number == number)
    version_id = session.scalar(chosen)
    if version_id is None:
        raise NotFound(f"there is no version {number} of the model")
    return version_id


def _version(session: Session, model: Model, sha256: str, origin: str, made_by: str, normals: int) -> int:
    """Find or make the version with this content."""
    chosen = select(Version.id).where(Version.model_id == model.id, Version.sha256 == sha256)
    known = session.scalar(chosen)
    if known is not None:
        return known
    latest = session.scalar(select(func.max(Version.number)).where(Version.model_id == model.id)) or 0
    made = Version(model_id=model.id, number=latest + 1, sha256=sha256, origin=origin, made_by=made_by, normals=normals)
    session.add(made)
    session.flush()
    return made.id


def _stamp(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino
