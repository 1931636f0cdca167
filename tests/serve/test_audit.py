"""Who sent, saw and decided what is on record before it is answered, and so is what was refused."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from tests.patience import wait_until
from tests.serve.conftest import png
from tests.serve.test_access import add_token

from msde.serve import audit
from msde.serve.audit import Refusals, Views
from msde.serve.intake.image_rows import Sender
from msde.serve.storage import audit_chain
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


def lines(database) -> list[tuple[str, str, int]]:
    with database.read() as session:
        rows = session.scalars(select(Audit).order_by(Audit.id))
        return [(row.user, row.action, row.detail.get("times", 0)) for row in rows]


def test_refusals_of_one_kind_are_a_line_a_minute_with_their_number(database):
    refusals = Refusals(database)
    for _ in range(500):
        refusals.note("", "denied", tried="token", address="10.0.0.7")
        refusals.note("jane", "refused", path="/api/audit")
    assert lines(database) == [("", "denied", 1), ("jane", "refused", 1)]
    refusals.flush()
    assert len(lines(database)) == 2
    refusals.flush(after=0)
    assert lines(database)[2:] == [("", "denied", 499), ("jane", "refused", 499)]
    refusals.flush(after=0)
    assert len(lines(database)) == 4
    refusals.note("", "denied", tried="token", address="10.0.0.7")
    assert lines(database)[4:] == [("", "denied", 1)]


def test_refusals_of_any_number_of_kinds_take_few_lines_and_little_memory(database, monkeypatch):
    monkeypatch.setattr(audit, "_KINDS", 5)
    refusals = Refusals(database)
    for number in range(200):
        refusals.note("jane", "refused", path=f"/api/{number}")
    assert len(lines(database)) == 6
    refusals.flush(after=0)
    assert sum(times for _, _, times in lines(database)) == 200


def test_a_refusal_that_cannot_be_recorded_is_still_one(serve, monkeypatch):
    def away():
        raise SQLAlchemyError

    with serve() as served:
        monkeypatch.setattr(served.service.refusals, "_database", type("Away", (), {"write": away}))
        wrong = {"authorization": "Bearer wrong"}
        assert served.client.get("/api/images", headers=wrong).status_code == 401


def recorded(served, **which) -> list[tuple[str, dict]]:
    rows = served.client.get("/api/audit", params=which).json()["rows"]
    return [(row["user"], row["detail"]) for row in reversed(rows)]


def test_uploads_are_recorded_with_who_and_whence(serve, url):
    with serve(database=url) as served:
        first = served.send(png(1))
        again = served.send(png(1))
        ingest = served.service.reception.ingest
        fetched = ingest(png(2), "a", Sender("poll:archive")).images[0].id
        assert first == again
        rest = {"origin": "rest", "address": "testclient"}
        assert recorded(served, action="upload", image=first) == [
            ("admin", {**rest, "known": False}),
            ("admin", {**rest, "known": True}),
        ]
        assert recorded(served, action="upload", image=fetched) == [
            ("poll:archive", {"origin": "poll:archive", "address": "", "known": False})
        ]


@pytest.mark.slow
def test_signing_in_and_what_is_refused_are_recorded(serve):
    with serve() as served:
        client, address = served.client, {"address": "testclient"}
        admin = client.headers.pop("authorization")
        csrf = client.post("/api/session", json={"token": admin.removeprefix("Bearer ")}).json()["csrf"]
        client.put("/api/models/discs/threshold", json={"alpha": 0.1})
        client.delete("/api/session", headers={"x-csrf-token": csrf})
        client.get("/api/images")
        client.post("/api/session", json={"token": "wrong"})
        for _ in range(20):
            client.get("/api/images", headers={"authorization": "Bearer wrong"})
        add_token(served, "jane", "reader")
        for _ in range(2):
            client.delete("/api/images/1", headers={"authorization": "Bearer jane"})
            client.get("/api/audit", headers={"authorization": "Bearer jane"})
        served.service.refusals.flush(after=0)
        client.headers["authorization"] = admin
        assert recorded(served, action="sign in") == [("admin", address)]
        assert recorded(served, action="sign out") == [("admin", address)]
        denied = recorded(served, action="denied")
        assert denied == [("", {**address, "tried": "token", "times": times}) for times in (1, 20)]
        paths = {"/api/models/discs/threshold": "PUT", "/api/images/1": "DELETE", "/api/audit": "GET"}
        refused = [
            ("admin" if method == "PUT" else "jane", {**address, "method": method, "path": path, "times": 1})
            for path, method in paths.items()
        ]
        assert recorded(served, action="refused") == [*refused, *refused[1:]]


def test_reading_of_the_audit_and_pictures_of_normals_are_recorded(serve, normals):
    with serve(normals=(str(normals),)) as served:
        wait_until(lambda: served.service.normals.has(served.service.models.named(None)), "normals")
        assert served.client.get("/api/normals/3/picture").status_code == 200
        assert recorded(served, action="normal") == [("admin", {"model": "discs", "number": 3})]
        assert recorded(served, action="audit") == [("admin", {})]


@pytest.mark.slow
def test_the_whole_of_what_a_service_records_is_one_chain(serve, url):
    with serve(database=url) as served:
        number = served.send(png(1))
        served.wait()
        served.client.post(f"/api/images/{number}/verdicts", json={"verdict": "normal"})
        served.client.put("/api/models/discs/threshold", json={"alpha": 0.1})
        served.client.get("/api/verdicts.csv")
        served.client.delete(f"/api/images/{number}")
        page = served.get("/api/audit")
        with served.service.database.read() as session:
            chain = audit_chain.verify(session)
        assert (chain.lines, chain.digest) == (page["total"], page["rows"][0]["digest"])
        assert {"upload", "list", "verdict", "threshold", "export", "delete", "audit"} <= {
            row["action"] for row in page["rows"]
        }
