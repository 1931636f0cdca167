"""Which DICOM objects have come in, and how far each archive has been read: DATA/pacs.db.

It may be lost: images are kept by their bytes, so what is fetched again is known again.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ATTEMPTS = 12
_LONGEST_WAIT = 3600.0  # seconds
_TABLES = """
CREATE TABLE IF NOT EXISTS instances (uid TEXT PRIMARY KEY, fate TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS series (
    pacs TEXT, uid TEXT, instances INTEGER NOT NULL, PRIMARY KEY (pacs, uid)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS failures (
    pacs TEXT, uid TEXT, series TEXT NOT NULL, attempts INTEGER NOT NULL, next_try REAL NOT NULL, error TEXT NOT NULL,
    PRIMARY KEY (pacs, uid)
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Failure:
    """An instance that could not be fetched.

    Parameters
    ----------
    pacs, uid : str
        Where it is, and its SOP Instance UID.
    attempts : int
        How often it was tried; it is dead after `ATTEMPTS`.
    error : str
        Why the last one failed.
    """

    pacs: str
    uid: str
    attempts: int
    error: str


class Ledger:
    """The tables of a data folder; may be used by several threads and processes.

    Parameters
    ----------
    data : Path
        The service's data folder.
    """

    def __init__(self, data: Path) -> None:
        self._path = data / "pacs.db"
        self._local = threading.local()
        with self._connected() as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.executescript(_TABLES)

    def fate(self, uid: str) -> str | None:
        """Tell what became of an instance, None where it has not been seen."""
        with self._connected() as connection:
            row = connection.execute("SELECT fate FROM instances WHERE uid = ?", (uid,)).fetchone()
        return row[0] if row else None

    def note(self, uid: str, fate: str) -> None:
        """Put down what became of an instance; the failures to fetch it are forgotten."""
        with self._connected() as connection:
            connection.execute("INSERT OR REPLACE INTO instances VALUES (?, ?)", (uid, fate))
            connection.execute("DELETE FROM failures WHERE uid = ?", (uid,))

    def n_settled(self, pacs: str, series: str) -> int | None:
        """Tell how many instances a series of an archive had when all of them were settled; None if never."""
        with self._connected() as connection:
            row = connection.execute(
                "SELECT instances FROM series WHERE pacs = ? AND uid = ?", (pacs, series)
            ).fetchone()
        return row[0] if row else None

    def settle(self, pacs: str, series: str, instances: int) -> None:
        """Put down that each of a series' instances has come to its end."""
        with self._connected() as connection:
            connection.execute("INSERT OR REPLACE INTO series VALUES (?, ?, ?)", (pacs, series, instances))

    def fail(self, pacs: str, uid: str, series: str, error: str) -> None:
        """Count an attempt to fetch an instance that failed."""
        with self._connected() as connection:
            row = connection.execute("SELECT attempts FROM failures WHERE pacs = ? AND uid = ?", (pacs, uid)).fetchone()
            attempts = (row[0] if row else 0) + 1
            next_try = time.time() + min(30 * 2.0**attempts, _LONGEST_WAIT)
            connection.execute(
                "INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?, ?, ?)",
                (pacs, uid, series, attempts, next_try, error),
            )

    def may_try(self, pacs: str, uid: str) -> bool | None:
        """Tell whether an instance is to be fetched now; None where it is given up."""
        with self._connected() as connection:
            row = connection.execute(
                "SELECT attempts, next_try FROM failures WHERE pacs = ? AND uid = ?", (pacs, uid)
            ).fetchone()
        if row and row[0] >= ATTEMPTS:
            return None
        return row is None or row[1] <= time.time()

    def dead(self) -> list[Failure]:
        """List what is given up."""
        with self._connected() as connection:
            rows = connection.execute(
                "SELECT pacs, uid, attempts, error FROM failures WHERE attempts >= ? ORDER BY pacs, uid", (ATTEMPTS,)
            ).fetchall()
        return [Failure(*row) for row in rows]

    def revive(self) -> int:
        """Have everything that failed tried again at once; count it."""
        with self._connected() as connection:
            connection.execute("DELETE FROM series WHERE (pacs, uid) IN (SELECT pacs, series FROM failures)")
            return connection.execute("DELETE FROM failures").rowcount

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """Give this thread's connection, in a transaction."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = sqlite3.connect(self._path, timeout=30)
            connection.execute("PRAGMA synchronous=NORMAL")
        with connection:
            yield connection
