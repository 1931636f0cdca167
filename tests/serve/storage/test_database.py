"""Migrations and errors of the database."""

from sqlite3 import ProgrammingError

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from psycopg import OperationalError
from sqlalchemy import text

from msde.errors import MSDEError
from msde.serve.storage.database import Database
from msde.serve.storage.tables import Base, Image


def test_the_migrations_make_the_tables_of_the_schema(database):
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, Base.metadata) == []


def test_upgrading_twice_changes_nothing(database):
    database.upgrade()
    assert database.can_write()


def test_an_upgrade_that_fails_leaves_the_tables_as_they_were(url, monkeypatch):
    def fail(_: object) -> None:
        raise ZeroDivisionError

    database = Database(url)
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr("alembic.op.execute", fail)  # which the last migrations call
        database.upgrade()
    assert database.state() == "empty"
    database.upgrade()
    assert database.state() == "current"
    database.close()


def test_a_database_of_a_newer_version_is_refused(database):
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(MSDEError, match="newer version of msde; upgrade"):
        database.upgrade()


def test_an_error_rolls_back(database):
    facts = {"suffix": "", "name": "n", "modality": "CT", "origin": "rest", "format": "PNG"}
    with pytest.raises(ZeroDivisionError), database.write() as session:
        session.add(Image(id=1, digest="0", **facts))
        session.flush()
        raise ZeroDivisionError
    with database.read() as session:
        assert session.get(Image, 1) is None


@pytest.mark.parametrize("begun", [True, False])
def test_what_is_at_work_when_it_is_closed_is_closed_when_it_is_done(url, begun):
    """Threads that nobody waits for may be at work then, or begin only afterwards."""
    database = Database(url)
    if begun:
        with database.read() as session:
            connection = session.connection().connection.driver_connection
            database.close()
    else:
        database.close()
        with database.read() as session:
            connection = session.connection().connection.driver_connection
    with pytest.raises((ProgrammingError, OperationalError), match="closed"):
        connection.execute("SELECT 1")


@pytest.mark.parametrize("url", ["mysql://secret@host/name", "no url but a secret", "oracle+x://secret@host/name", ""])
def test_another_url_is_refused_without_quoting_it(url):
    with pytest.raises(MSDEError, match="give sqlite:///FILE or postgresql") as caught:
        Database(url).upgrade()
    assert "secret" not in str(caught.value)


def test_a_server_that_is_away_is_said():
    database = Database("postgresql://user:secret@127.0.0.1:1/none")
    assert not database.can_write()
    with pytest.raises(MSDEError, match="cannot be used") as caught:
        database.upgrade()
    assert "secret" not in str(caught.value)
    database.close()
