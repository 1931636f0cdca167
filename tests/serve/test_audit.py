"""Views are on record before they are answered."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from msde.serve.audit import Views
from msde.serve.storage.tables import Audit


def on_record(database):
    with database.read() as session:
        return [(row.user, row.image_id) for row in session.scalars(select(Audit).order_by(Audit.id))]


def test_parts_of_a_look_are_one_and_recorded_before_any_returns(database):
    views = Views(database)

    def look(user):
        views.note(user, "view", 1)
        return (user, 1) in on_record(database)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(look, ["a", "a", "a", "b"] * 4))
    assert sorted(on_record(database)) == [("a", 1), ("b", 1)]


def test_a_look_that_could_not_be_recorded_is_recorded_next_time(database, monkeypatch):
    def away():
        raise SQLAlchemyError

    views = Views(database)
    with monkeypatch.context() as patched:
        patched.setattr(database, "write", away)
        with pytest.raises(SQLAlchemyError):
            views.note("a", "view", 1)
    views.note("a", "view", 1)
    assert on_record(database) == [("a", 1)]
