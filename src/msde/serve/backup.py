"""A copy of all that a service keeps, made while it runs, and put back where there is none."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ValidationError
from sqlalchemy import delete, select

from msde import __version__
from msde.errors import DataError, OutputError
from msde.serve.audit import record
from msde.serve.settings import Settings
from msde.serve.storage import audit_chain, dump
from msde.serve.storage.database import Database
from msde.serve.storage.privacy import keep_owner
from msde.serve.storage.store import SERIES, Store, sync
from msde.serve.storage.tables import Identity, Image, PageSession
from msde.storage.atomic import explained
from msde.storage.digests import digest_of

FORMAT = 1
_FACTS = "backup.json"
_BESIDE = ("database-id", "secret", "tokens", "admin-token")
_PART = ".part"


class _Facts(BaseModel):
    """What a backup says of itself; `files` are SHA-256, of none while the first copy is not whole."""

    format: int
    msde: str
    kind: str
    identity: str
    made: datetime
    files: dict[str, str]


@dataclass(frozen=True)
class Copied:
    """What was copied.

    Parameters
    ----------
    images, models : int
        How many there are in the copy.
    fresh : int
        How many of the images were not in an earlier copy at that place.
    missing : int
        Images of the database whose file is not there.
    digest : str
        Of the last line of the audit log.
    """

    images: int
    models: int
    fresh: int
    missing: int
    digest: str


def back_up(settings: Settings, database: Database, target: Path, user: str) -> Copied:
    """Copy database, images, versions of models, users and secrets; bring an earlier copy up to date.

    The database comes first, so each image that it knows is in the copy unless it was deleted meanwhile.

    Parameters
    ----------
    settings : Settings
    database : Database
    target : Path
        A folder that is empty, or missing, or has an earlier copy.
    user : str
        Who asks for it, for the audit log.

    Raises
    ------
    DataError
        If the folder has something else.
    OutputError
        If it has no room or cannot be written.
    """
    folder = settings.folder
    with database.read() as session:
        identity = session.scalars(select(Identity.id)).one()
    with explained(target):
        target.mkdir(parents=True, exist_ok=True, mode=0o700)
        earlier = _facts(target)
        if earlier is not None and earlier.identity != identity:
            raise DataError(f"{target}: is a backup of another service; give another folder")
        if earlier is None and any(target.iterdir()):
            raise DataError(f"{target}: has something that is no backup; give an empty folder")
        facts = _Facts(
            format=FORMAT, msde=__version__, kind=database.kind, identity=identity, made=datetime.now(UTC), files={}
        )
        if earlier is None:  # what comes of a copy that is broken off can be gone on with
            _write(target / _FACTS, facts)
        images = _Folder(folder / "images", target / "images", "??/*")
        models = _Folder(folder / "models", target / "models", "*.msde")
        _check_room(target, [*images.missing(), *models.missing()])
        with database.write() as session:
            record(session, user, "backup")
        name = dump.name(database)
        dump.write(database, target / f"{name}{_PART}")
        fresh, _ = images.copy(), models.copy()
        for other in _BESIDE:
            if (folder / other).exists():
                _copy(folder / other, target / f"{other}{_PART}")
        # From here to its end the copy is neither the old nor the new one, and its facts tell.
        there = [other for other in (name, *_BESIDE) if (target / f"{other}{_PART}").exists()]
        for other in there:
            os.replace(target / f"{other}{_PART}", target / other)
        files = {other: digest_of(target / other) for other in there}
        _write(target / _FACTS, facts.model_copy(update={"files": files}))
        images.forget()
        models.forget()
        missing, digest = _state(database, Store(folder))
    return Copied(images.count(), models.count(), fresh, missing, digest)


def restore(source: Path, settings: Settings, user: str) -> Copied:
    """Put a copy back into a folder where there is nothing, and into an empty database; nobody stays signed in.

    Parameters
    ----------
    source : Path
    settings : Settings
        With the folder, and the URL of a database of the kind that the copy is of.
    user : str
        Who asks for it, for the audit log.

    Raises
    ------
    DataError
        If the copy is not whole, or there is something where it is to go.
    """
    folder, facts = settings.folder, _facts(source)
    if facts is None or not facts.files:
        raise DataError(f"{source}: is no whole backup; give a folder that `msde serve backup` has finished")
    for name, digest in facts.files.items():
        if not (source / name).is_file() or digest_of(source / name) != digest:
            raise DataError(f"{source / name}: is missing or altered; take another backup")
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if any((folder / name).exists() for name in ("database-id", "msde.db", "images", "models")):
            raise DataError(f"{folder}: has a service's data already; give an empty folder, or move that away")
        database = Database(settings.url)
        try:
            if database.kind != facts.kind:
                raise DataError(f"the backup is of {facts.kind}, not {database.kind}; give --database of that kind")
            with (folder / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                dump.check_empty(database)
                images = _Folder(source / "images", folder / "images", "??/*")
                models = _Folder(source / "models", folder / "models", "*.msde")
                _check_room(folder, [*images.missing(), *models.missing()])
                fresh, _ = images.copy(check=True), models.copy(check=True)
                dump.read(database, source / dump.name(database))
                database.upgrade(folder)
                with database.write() as session:
                    session.execute(delete(PageSession))
                    record(session, user, "restore", made=facts.made.isoformat())
                for name in _BESIDE:  # the name of the database last: without it the folder is no service's
                    if name in facts.files and name != "database-id":
                        _copy(source / name, folder / name)
                _copy(source / "database-id", folder / "database-id")
                missing, digest = _state(database, Store(folder))
        finally:
            database.close()
        for path in folder.rglob("*"):
            keep_owner(path, folder)
    return Copied(images.count(), models.count(), fresh, missing, digest)


@dataclass(frozen=True)
class _Folder:
    """Files and series that are named for what is in them, and a place where they are copied to."""

    source: Path
    target: Path
    pattern: str

    def missing(self) -> list[Path]:
        """List what is not there yet."""
        return [path for path in self.source.glob(self.pattern) if not self._place(path).exists()]

    def copy(self, *, check: bool = False) -> int:
        """Copy what is missing; count it."""
        paths = self.missing()
        for path in paths:
            place = self._place(path)
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                _copy(path, place)
            except OSError:
                if path.exists():
                    raise
                continue  # deleted meanwhile
            if check and not _is_whole(place):
                raise DataError(f"{path}: is damaged: its content is not what its name says; take another backup")
        self.target.mkdir(parents=True, exist_ok=True, mode=0o700)
        return len(paths)

    def forget(self) -> None:
        """Remove what the source has no longer."""
        for path in self.target.glob(self.pattern):
            if not (self.source / path.relative_to(self.target)).exists():
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def count(self) -> int:
        """Count what is there."""
        return sum(1 for _ in self.target.glob(self.pattern))

    def _place(self, path: Path) -> Path:
        return self.target / path.relative_to(self.source)


def _copy(path: Path, place: Path) -> None:
    """Copy a file or a series; it has its name only when it is whole and on disk."""
    part = place.with_name(f".{place.name}{_PART}")
    if path.is_dir():
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(path, part, copy_function=shutil.copyfile)
        part.chmod(0o700)
    else:
        shutil.copyfile(path, part)
    for file in [part, *part.iterdir()] if part.is_dir() else [part]:
        sync(file)
    os.replace(part, place)


def _is_whole(path: Path) -> bool:
    """Whether a file or series has the digest that it is named for."""
    if path.suffix != SERIES:
        return digest_of(path) == path.name.partition(".")[0]
    digests = "\n".join(digest_of(file) for file in sorted(path.iterdir()))
    return hashlib.sha256(digests.encode()).hexdigest() == path.stem


def _state(database: Database, store: Store) -> tuple[int, str]:
    """Count the images whose file is missing, and return the digest of the audit log's last line."""
    with database.read() as session:
        known = set(session.scalars(select(Image.digest).where(Image.purged.is_(None))))
        return len(known - store.digests()), audit_chain.head(session)


def _check_room(target: Path, paths: Iterable[Path]) -> None:
    needed = sum(_size(path) for path in paths)
    free = shutil.disk_usage(target).free
    if needed > free:
        raise OutputError(f"{target}: {needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB free; make room")


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):  # deleted meanwhile
        return sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")))
    return 0


def _facts(folder: Path) -> _Facts | None:
    """Read what a backup says of itself; None where there is none."""
    file = folder / _FACTS
    if not file.is_file():
        return None
    try:
        facts = _Facts.model_validate_json(file.read_bytes())
    except ValidationError:
        raise DataError(f"{file}: cannot be read; take another backup") from None
    if facts.format > FORMAT:
        raise DataError(f"{folder}: was written by a newer version of msde ({facts.msde}); upgrade msde")
    return facts


def _write(file: Path, facts: _Facts) -> None:
    part = file.with_name(f"{file.name}{_PART}")
    part.write_text(facts.model_dump_json(indent=1), "utf-8")
    sync(part)
    os.replace(part, file)
    sync(file.parent)
