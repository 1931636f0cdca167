"""A database as one file: SQLite's by its own backup, PostgreSQL's by pg_dump and pg_restore."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from sqlalchemy import inspect

from msde.errors import DataError, MSDEError
from msde.serve.storage.database import Database

_PACKAGE = "apt-get install postgresql-client"


def name(database: Database) -> str:
    """Return what the file of such a database is called."""
    return "msde.db" if database.is_sqlite else "database.dump"


def write(database: Database, file: Path) -> None:
    """Write the database, as it is at this moment, to a file; whoever writes to it goes on meanwhile.

    Raises
    ------
    MSDEError
        If it cannot be copied.
    """
    if not database.is_sqlite:
        return _run("pg_dump", database, "--format=custom", "--no-owner", "--no-privileges", f"--file={file}")
    file.unlink(missing_ok=True)
    with closing(database.engine.raw_connection()) as source, closing(sqlite3.connect(file)) as copy:
        connection = source.driver_connection
        assert isinstance(connection, sqlite3.Connection)  # noqa: S101 - for the type checker
        connection.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a journal beside it
        (found,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise DataError(f"the database is damaged ({found}); take an earlier backup")
    return None


def check_empty(database: Database) -> None:
    """Check that nothing would be written over.

    Raises
    ------
    DataError
        If the database has tables.
    """
    if inspect(database.engine).get_table_names():
        raise DataError("the database has tables already; give an empty one by --database")


def read(database: Database, file: Path) -> None:
    """Fill an empty database from a file.

    Raises
    ------
    MSDEError
        If it cannot be filled; PostgreSQL is then as empty as before.
    """
    if not database.is_sqlite:
        options = ("--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction")
        return _run("pg_restore", database, *options, str(file))
    with closing(sqlite3.connect(file)) as copy, closing(database.engine.raw_connection()) as target:
        connection = target.driver_connection
        assert isinstance(connection, sqlite3.Connection)  # noqa: S101 - for the type checker
        copy.backup(connection)
        connection.execute("PRAGMA journal_mode=WAL")
    return None


def _run(program: str, database: Database, *options: str) -> None:
    """Run a program of PostgreSQL's; the password does not stand in its command line."""
    if shutil.which(program) is None:
        raise MSDEError(f"{program} is missing, which copies PostgreSQL; run `{_PACKAGE}`")
    url = database.engine.url
    address = url.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
    password = {"PGPASSWORD": url.password} if isinstance(url.password, str) else {}
    done = subprocess.run(  # noqa: S603 - a fixed program, and no shell
        [program, f"--dbname={address}", *options],
        env={**os.environ, **password},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise MSDEError(f"{program} failed: {said.removeprefix(f'{program}: ')}")
