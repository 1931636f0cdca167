"""The audit log's chain: what breaks it, and what does not."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select, text, update
from sqlalchemy.orm import Session

from msde.errors import DataError
from msde.serve.audit import record
from msde.serve.storage import audit_chain
from msde.serve.storage.audit_chain import BEGINNING
from msde.serve.storage.database import Database
from msde.serve.storage.tables import Audit


def write(database: Database, n: int) -> list[str]:
    """Write lines, and return the digests of all."""
    for number in range(n):
        with database.write() as session:
            record(session, f"user{number}", "view", number, alpha=0.1 * number, words=["é", None])
    with database.read() as session:
        return list(session.scalars(select(Audit.digest).order_by(Audit.id)))


def check(database: Database, noted: str | None = None) -> audit_chain.Chain:
    with database.read() as session:
        return audit_chain.verify(session, noted)


def test_a_log_is_whole_from_its_first_line_to_its_last(database, monkeypatch):
    assert check(database) == audit_chain.Chain(0, BEGINNING)
    monkeypatch.setattr(audit_chain, "_AT_ONCE", 2)
    digests = write(database, 5)
    assert len(set(digests)) == 5
    assert check(database) == audit_chain.Chain(5, digests[-1])
    for noted in (*digests, BEGINNING):
        check(database, noted)


@pytest.mark.slow
@pytest.mark.parametrize("column", ["at", "user", "action", "image_id", "detail", "digest"])
@pytest.mark.parametrize("line", [1, 3, 5])
def test_a_line_that_is_altered_is_found(database, column, line):
    write(database, 5)
    with database.read() as session:
        at = session.scalar(select(Audit.at).where(Audit.id == line))
    other = {"at": at + timedelta(microseconds=1), "image_id": None, "detail": {}, "digest": "0" * 64}
    with database.write() as session:
        session.execute(update(Audit).where(Audit.id == line).values({column: other.get(column, "other")}))
    with pytest.raises(DataError, match=f"broken at its line {line} "):
        check(database)


def test_lines_taken_out_put_in_or_moved_are_found(database):
    digests = write(database, 5)
    for change in (
        delete(Audit).where(Audit.id == 1),
        delete(Audit).where(Audit.id == 3),
        update(Audit).where(Audit.id == 2).values(id=9),
    ):
        with database.engine.connect() as connection, connection.begin() as transaction:
            connection.execute(change)
            with pytest.raises(DataError, match="is broken at its line"):
                audit_chain.verify(Session(connection))
            transaction.rollback()
    assert check(database).digest == digests[-1]
    with database.write() as session:
        session.add(Audit(user="nobody", action="view", detail={}))
    with pytest.raises(DataError, match="broken at its line 6"):
        check(database)


def test_lines_taken_off_the_end_are_found_by_a_digest_that_was_noted(database):
    digests = write(database, 5)
    with database.write() as session:
        session.execute(delete(Audit).where(Audit.id > 3))
    assert check(database).lines == 3
    assert check(database, digests[2]).lines == 3
    with pytest.raises(DataError, match="no line with the digest noted; of its 3 lines"):
        check(database, digests[4])
    write(database, 2)
    with pytest.raises(DataError, match="no line with the digest noted"):
        check(database, digests[4])


def test_what_is_rolled_back_leaves_no_line(database):
    def fail() -> None:
        with database.write() as session:
            record(session, "a", "view")
            raise ZeroDivisionError

    write(database, 1)
    with pytest.raises(ZeroDivisionError):
        fail()
    write(database, 1)
    assert check(database).lines == 2


def test_transactions_at_once_make_one_chain(url):
    databases = [Database(url) for _ in range(3)]  # as of several processes
    databases[0].upgrade()

    def work(database: Database) -> None:
        for number in range(10):
            with database.write() as session:
                record(session, "a", "view", number)
                record(session, "a", "verdict", number)

    threads = [threading.Thread(target=work, args=(database,)) for database in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert check(databases[0]).lines == 60
    for database in databases:
        database.close()


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="ascii")), inner),
    max_leaves=5,
)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(["alpha", "model", "origin"]), values))
def test_whatever_a_line_says_it_reads_the_same_again(database, detail: dict[str, Any]):
    with database.write() as session:
        record(session, "a", "view", None, **detail)
    assert check(database).lines > 0


@pytest.mark.parametrize("lines", [0, 3])
def test_the_log_of_an_earlier_version_becomes_a_chain(url, lines, monkeypatch):
    from alembic import command

    upgrade = command.upgrade
    database = Database(url)
    monkeypatch.setattr(command, "upgrade", lambda config, _: upgrade(config, "0003"))
    database.upgrade()
    columns, detail = 'at, "user", action, image_id, detail', '{"b": 1, "a": 2.5}'
    insert = text(f"INSERT INTO audit ({columns}) VALUES (:at, 'a', 'view', 1, '{detail}')".replace('": ', '"\\: '))  # noqa: S608
    with database.engine.begin() as connection:
        for number in range(lines):
            connection.execute(insert, {"at": f"2026-01-02 03:04:05.00000{number}"})
    monkeypatch.undo()
    database.upgrade()
    write(database, 2)
    assert check(database).lines == lines + 2
    database.close()
