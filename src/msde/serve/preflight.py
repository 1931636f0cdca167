"""Whether a service could start as it was told to, and what will trouble it: found out without changing anything."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from msde.errors import MSDEError
from msde.images import find_images
from msde.model.anomaly_model import AnomalyModel
from msde.serve.intake.tokens import is_comment, parse
from msde.serve.launch import free_port
from msde.serve.notify.delivery import ReceiverDownError, reach
from msde.serve.notify.settings import NotifyFile
from msde.serve.pacs.settings import PacsFile
from msde.serve.settings import Settings
from msde.serve.settings_file import is_loopback
from msde.serve.storage.database import Database
from msde.serve.storage.room import Room
from msde.serve.storage.secret import read_secret

OK, WARNS, FAILS = "ok", "warns", "fails"


@dataclass(frozen=True)
class Finding:
    """What was found.

    Parameters
    ----------
    what : str
    state : {"ok", "warns", "fails"}
        Whether it would end the start, or is only to be known.
    words : str
        With the remedy, where there is something to do.
    """

    what: str
    state: str
    words: str


def inspect(settings: Settings) -> Iterator[Finding]:
    """Look at everything that the start needs; each finding is given as soon as it is known."""
    checks: dict[str, Callable[[Settings], Iterator[Finding]]] = {
        "data folder": _folder,
        "disk": _disk,
        "database": _database,
        "models": _models,
        "users": _users,
        "normals": _normals,
        "address": _address,
        "archive": _archives,
        "notifications": _receivers,
    }
    for what, check in checks.items():
        try:
            yield from check(settings)
        except MSDEError as error:
            yield Finding(what, FAILS, str(error))
        except OSError as error:
            yield Finding(what, FAILS, f"{error.filename or what}: {error.strerror or error}")


def _folder(settings: Settings) -> Iterator[Finding]:
    folder, what = settings.folder, "data folder"
    if not folder.exists():
        above = _nearest(folder)
        if not os.access(above, os.W_OK | os.X_OK, effective_ids=True):
            raise MSDEError(f"{folder}: is missing, and {above} is not to be written to; make it for this user")
        yield Finding(what, OK, f"{folder}: is made at the start")
        return
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise MSDEError(f"{folder}: cannot be written ({error.strerror}); make it this user's") from None
    facts = folder.stat()
    if facts.st_uid != os.geteuid():
        yield Finding(what, WARNS, f"{folder}: is another user's; run the check as the service's own user")
    elif stat.S_IMODE(facts.st_mode) & 0o077:
        yield Finding(what, WARNS, f"{folder}: others may read it; the start takes that from them")
    else:
        yield Finding(
            what, OK, f"{folder}: {'a service is running at it' if _is_running(folder) else 'can be written'}"
        )


def _disk(settings: Settings) -> Iterator[Finding]:
    folder = _nearest(settings.folder)
    free = f"{shutil.disk_usage(folder).free / 1e9:.1f} GB free"
    if Room(folder, settings.reserve).has():
        yield Finding("disk", OK, free)
    else:
        yield Finding("disk", WARNS, f"{free}, less than the reserve: uploads are refused; make room")


def _database(settings: Settings) -> Iterator[Finding]:
    what = "database"
    if not settings.database and not (settings.folder / "msde.db").exists():
        yield Finding(what, OK, "SQLite in the data folder, made at the start")
        return
    database = Database(settings.url)
    try:
        state = database.state()
        if state == "newer":
            raise MSDEError("it was written by a newer version of msde; upgrade msde, or restore a backup")
        if state != "empty" and not database.can_write():
            raise MSDEError("it cannot be written; give its user the right to")
        if database.is_sqlite and (damage := _damage(database)):
            raise MSDEError(f"it is damaged ({damage}); restore a backup")
    except SQLAlchemyError as error:
        kind = type(error).__name__
        raise MSDEError(f"it cannot be reached ({kind}); check the URL, the server and its permissions") from None
    finally:
        database.close()
    if state == "older":
        words = "the start brings it to this version, and no earlier one reads it then; take a backup before"
        yield Finding(what, WARNS, words)
    else:
        yield Finding(what, OK, "empty: its tables are made at the start" if state == "empty" else "can be written")


def _damage(database: Database) -> str:
    with closing(database.engine.raw_connection()) as connection:
        (found,) = connection.cursor().execute("PRAGMA quick_check(1)").fetchone()
    return "" if found == "ok" else str(found)


def _models(settings: Settings) -> Iterator[Finding]:
    for file in settings.models:
        model = AnomalyModel.load(file, None, settings.device)
        if model.scorer_.batchwise:
            raise MSDEError(f"{file}: is transductive, whose scores depend on the batch; fit without --mode")
        words = f"{Path(file).stem}: {model.info()['mode']}, {len(model.calibration_.scores):,} held-out normals"
        yield Finding("models", OK, words)


def _users(settings: Settings) -> Iterator[Finding]:
    folder, what = settings.folder, "users"
    keys = [folder / "secret", Path(settings.identifiers_key or folder / "identifiers-key")]
    for key in keys if settings.identifiers else keys[:1]:
        if key.exists():
            read_secret(key)
    if not (folder / "tokens").exists():
        yield Finding(what, OK, "one admin, whose token the start puts into admin-token")
        return
    lines = (folder / "tokens").read_text("utf-8", "replace").split("\n")
    entries = [parse(line) for line in lines]
    odd = [str(n) for n, line in enumerate(lines, 1) if parse(line) is None and not is_comment(line)]
    if odd:
        words = f"not USER ROLE SHA256, and for nobody: line {', '.join(odd)} of {folder / 'tokens'}"
        yield Finding(what, WARNS, words)
    n, admins = sum(map(bool, entries)), sum(entry.role == "admin" for entry in entries if entry)
    if not admins and not settings.admins:
        yield Finding(what, WARNS, "none is an admin; `msde serve user add NAME --role admin` adds one")
    else:
        yield Finding(what, OK, f"{n} with tokens, {admins} of them admins")


def _normals(settings: Settings) -> Iterator[Finding]:
    names = [Path(file).stem for file in settings.models]
    options = {"--normals": settings.normals_of, "--abnormal": settings.abnormal_of}
    for option, given in dict.fromkeys((option, of(name)) for option, of in options.items() for name in names):
        if given:
            try:
                yield Finding("normals", OK, f"{option}: {len(find_images(given)):,} images")
            except MSDEError as error:  # the service runs without
                yield Finding("normals", WARNS, f"{option}: {error}")


def _address(settings: Settings) -> Iterator[Finding]:
    what = "address"
    if not _is_running(settings.folder):
        free_port(settings.host, settings.port)
    beyond = not is_loopback(settings.host)
    if beyond and not settings.hosts:
        words = "listens beyond this machine and answers to any host name; give --server-name"
        yield Finding(what, WARNS, words)
    elif beyond and not settings.https:
        yield Finding(what, WARNS, "listens beyond this machine without --https: put a proxy with HTTPS before it")
    else:
        yield Finding(what, OK, f"{settings.host} port {settings.port}")


def _archives(settings: Settings) -> Iterator[Finding]:
    if not settings.pacs:
        return
    from msde.serve.pacs.dicomweb import Pacs, PacsDownError
    from msde.serve.pacs.link import need_libraries

    file, what = PacsFile.read(settings.pacs), "archive"
    need_libraries()
    if file.listen is not None and not _is_running(settings.folder):
        free_port(file.listen.host, file.listen.port)
    for pacs in file.pacs:
        try:
            Pacs(pacs).check()
            yield Finding(what, OK, f"{pacs.name}: answers as DICOMweb")
        except MSDEError as error:  # one that is away may come later
            yield Finding(what, WARNS if isinstance(error, PacsDownError) else FAILS, f"{pacs.name}: {error}")


def _receivers(settings: Settings) -> Iterator[Finding]:
    if not settings.notify:
        return
    for receiver in NotifyFile.read(settings.notify, identifiers=settings.identifiers).receivers:
        try:
            reach(receiver)
            yield Finding("notifications", OK, f"{receiver.name}: can be reached")
        except ReceiverDownError as error:  # it may come later
            yield Finding("notifications", WARNS, str(error))


def _is_running(folder: Path) -> bool:
    """Whether a service holds the folder."""
    with suppress(FileNotFoundError), (folder / "lock").open("r") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _nearest(folder: Path) -> Path:
    """Return a folder, or the nearest above it that there is."""
    return next(path for path in (folder, *folder.parents) if path.exists())
