"""The connection to SQLite or PostgreSQL: transactions that read and transactions that write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from threading import Lock
from typing import Any

from sqlalchemy import Connection, create_engine, event, make_url, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session

from msde.errors import MSDEError
from msde.serve.storage import audit_chain
from msde.serve.storage.tables import Identity

_WAIT = 30  # seconds for a lock of another process
_PATIENCE = 200  # ms for readers, while the journal is emptied
_PATIENCE_OF_SERVER = 10  # seconds for a server that does not answer
_CONNECTIONS = 48  # as many as there are threads that answer requests, and some
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    f"busy_timeout={1000 * _WAIT}",
    "secure_delete=ON",  # what is deleted is overwritten
    "cache_size=-500",  # kB a connection; the system keeps the file's pages once for all of them
)


class Database:
    """A database by its URL.

    Parameters
    ----------
    url : str
        ``sqlite:///FILE`` or ``postgresql://USER@HOST/NAME``.

    Attributes
    ----------
    kind : {"sqlite", "postgresql"}

    Raises
    ------
    MSDEError
        If the URL is of another kind.
    """

    def __init__(self, url: str) -> None:
        try:
            address = make_url(url)
            kind = address.get_backend_name()
            if kind not in ("sqlite", "postgresql"):
                raise MSDEError(f"database of kind {kind!r} is not supported; give sqlite:///FILE or postgresql://...")
            settings: dict[str, Any] = {"pool_size": _CONNECTIONS, "max_overflow": 0, "hide_parameters": True}
            if kind == "postgresql":
                address = address.set(drivername="postgresql+psycopg")
                settings |= {"pool_pre_ping": True, "pool_size": 16}
                if "connect_timeout" not in address.query:
                    settings["connect_args"] = {"connect_timeout": _PATIENCE_OF_SERVER}
            else:
                settings["connect_args"] = {"timeout": _WAIT, "check_same_thread": False}
            self.engine = create_engine(address, **settings)
        except (ArgumentError, NoSuchModuleError):  # without their words, because the URL may hold a password
            raise MSDEError("the database URL cannot be read; give sqlite:///FILE or postgresql://...") from None
        except ImportError:
            raise MSDEError("PostgreSQL needs a further library; run `pip install 'msde[serve]'`") from None
        self.kind = kind
        self.is_sqlite = kind == "sqlite"
        self._writing = Lock()
        if self.is_sqlite:
            event.listen(self.engine, "connect", _set_up)
            event.listen(self.engine, "begin", _begin)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a session whose changes, if any, are dropped."""
        with Session(self.engine, expire_on_commit=False, autoflush=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a session that is committed at the end, or rolled back where an error leaves it."""
        if not self.is_sqlite:
            with Session(self.engine, expire_on_commit=False) as session, session.begin():
                yield session
                audit_chain.close(session)
            return
        # SQLite has one writer at a time; waiting here is quicker and fairer than in its own loop of naps.
        engine = self.engine.execution_options(writes=True)
        with self._writing, Session(engine, expire_on_commit=False) as session, session.begin():
            yield session
            audit_chain.close(session)

    def insert(self, table: Any) -> Any:
        """Return an INSERT that knows ON CONFLICT."""
        return (sqlite if self.is_sqlite else postgresql).insert(table)

    def upgrade(self, folder: Path | None = None) -> None:
        """Bring the tables to this version's, in one transaction.

        Parameters
        ----------
        folder : Path, optional
            Data folder, where an earlier version kept some of what is now in the tables.

        Raises
        ------
        MSDEError
            If the database cannot be reached or is of a newer version.
        """
        from alembic import command
        from alembic.config import Config
        from alembic.util import CommandError

        try:
            with as_file(files("msde.serve.storage") / "migrations") as scripts, self.engine.connect() as connection:
                config = Config()
                config.set_main_option("script_location", str(scripts).replace("%", "%%"))
                config.attributes.update(connection=connection, folder=folder)
                command.upgrade(config, "head")
        except CommandError:
            raise MSDEError("the database was written by a newer version of msde; upgrade msde") from None
        except SQLAlchemyError as error:
            raise MSDEError(
                f"the database cannot be used ({type(error).__name__}); check the URL, the server and its permissions"
            ) from error

    def state(self) -> str:
        """Return "empty", "current", "older" or "newer": how the tables stand to this version's; nothing is changed.

        Raises
        ------
        SQLAlchemyError
            If the database cannot be reached.
        """
        from alembic.config import Config
        from alembic.runtime.migration import MigrationContext
        from alembic.script import ScriptDirectory

        with self.engine.connect() as connection:
            revision = MigrationContext.configure(connection).get_current_revision()
        if revision is None:
            return "empty"
        with as_file(files("msde.serve.storage") / "migrations") as scripts:
            config = Config()
            config.set_main_option("script_location", str(scripts).replace("%", "%%"))
            known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
        return "current" if revision == known[0] else "older" if revision in known else "newer"

    def can_write(self) -> bool:
        """Whether the database can be written."""
        try:
            with self.write() as session:
                session.execute(update(Identity).values(id=Identity.id))
        except SQLAlchemyError:
            return False
        return True

    def empty_journal(self) -> bool:
        """Bring SQLite's journal into its file and empty it; return whether it is, for a reader may be in the way."""
        if not self.is_sqlite:
            return True
        with self._writing, closing(self.engine.raw_connection()) as connection:
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout={_PATIENCE}")  # others cannot write meanwhile
            try:
                busy, *_ = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                cursor.execute(f"PRAGMA busy_timeout={1000 * _WAIT}")
                cursor.close()
        return not busy

    def close(self) -> None:
        """Close all connections: those at work, in threads that nobody waits for, as soon as they are given back."""
        event.listen(self.engine, "checkin", _close)
        self.engine.dispose()


def _close(_connection: Any, record: Any) -> None:
    record.invalidate()


def _set_up(connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions begin where `_begin` says
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
