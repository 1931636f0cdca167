"""Whether a service could start as it was told to."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from sqlalchemy import text
from tests.serve.test_data_folder import run

from msde.errors import MSDEError
from msde.serve import preflight
from msde.serve.settings import Settings
from msde.serve.storage.database import Database


def states(settings: Settings) -> dict[str, str]:
    return {finding.what: finding.state for finding in preflight.inspect(settings)}


def found(what: str, **given: Any) -> str:
    """Return what is found of one thing, as the command prints it."""
    lines = preflight.inspect(Settings(**given))
    return "\n".join(f"{one.state} {one.words}" for one in lines if one.what == what)


def test_a_first_start_is_checked_and_nothing_is_made(disc_model, normals, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = run("check", disc_model, "--data", tmp_path / "data", "--normals", normals, "--port", port)
    assert [line.split()[0] for line in said.splitlines()] == ["ok"] * 7
    assert "models: discs: inductive, " in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_running_service_is_checked_beside_it(serve, disc_model, tmp_path):
    folder = tmp_path / "data"
    given: dict[str, Any] = {"data": str(folder), "models": (str(disc_model),)}
    with serve():
        folder.chmod(0o700)
        assert set(states(Settings(**given)).values()) == {"ok"}
        assert "a service is running at it" in found("data folder", **given)
        (folder / "tokens").write_text("# nobody\njane reader 12\n")
        assert found("users", **given).splitlines() == [
            f"warns not USER ROLE SHA256, and for nobody: line 2 of {folder / 'tokens'}",
            "warns none is an admin; `msde serve user add NAME --role admin` adds one",
        ]
        folder.chmod(0o755)
        assert found("data folder", **given).startswith("warns")
        assert found("disk", **given, reserve=0).startswith("ok")
    database = Database(Settings(**given).url)
    for revision, state in (("0003", "warns the start brings it"), ("9999", "fails it was written by a newer version")):
        with database.write() as session:
            session.execute(text(f"UPDATE alembic_version SET version_num = '{revision}'"))  # noqa: S608
        assert found("database", **given).startswith(state)
    database.close()
    (folder / "msde.db").write_bytes(b"no database at all" * 100)
    assert found("database", **given).startswith("fails it cannot be reached (DatabaseError)")


def test_what_would_end_the_start_is_said(disc_model, tmp_path):
    broken = tmp_path / "broken.msde"
    broken.write_bytes(disc_model.read_bytes()[:-9])
    (tmp_path / "pacs.toml").write_text('[[pacs]]\nurl = "no address"')
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "secret").write_text("short")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        given: dict[str, Any] = {
            "data": str(tmp_path / "data"),
            "models": (str(broken),),
            "port": taken.getsockname()[1],
            "pacs": str(tmp_path / "pacs.toml"),
            "database": "postgresql://nobody@127.0.0.1:1/none",
            "normals": (str(tmp_path / "gone"),),
        }
        said = states(Settings(**given))
        assert {what for what, state in said.items() if state == "fails"} == {
            *("database", "models", "users", "address", "archive"),
        }
        assert said["normals"] == "warns"
        with pytest.raises(MSDEError, match=r"[34] checks fail; the service would not start"):
            run("check", broken, "--data", tmp_path / "data", "--port", given["port"])
