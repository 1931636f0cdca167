"""What is done to a service's data folder from the command line, while it is served and after."""

from __future__ import annotations

import os
import stat

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import delete, update
from tests.serve.conftest import png

from msde.cli.main import msde
from msde.errors import MSDEError
from msde.serve.intake import users
from msde.serve.storage.tables import Audit


def call(*words: object) -> Result:
    """Run `msde serve` with words."""
    result = CliRunner().invoke(msde, ["serve", *map(str, words)])
    if isinstance(result.exception, MSDEError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def run(*words: object) -> str:
    """Run `msde serve` with words, and return what it prints; a service in this process may log meanwhile."""
    return call(*words).stdout


@pytest.mark.slow
def test_the_audit_log_is_verified_while_the_service_runs_and_after(serve, url, tmp_path):
    verify = ("audit", "verify", "--data", tmp_path / "data", "--database", url)
    with serve(database=url) as served:
        served.send(png(1))
        first = run(*verify)
        noted = first.split()[-1]
        assert first.startswith("1 lines, unbroken; the last has the digest ")
        served.send(png(2))
        assert run(*verify, "--noted", noted).startswith("2 lines")
        latest = run(*verify).split()[-1]
        with served.service.database.write() as session:
            session.execute(delete(Audit).where(Audit.id == 2))
        run(*verify, "--noted", noted)
        with pytest.raises(MSDEError, match="has no line with the digest noted"):
            run(*verify, "--noted", latest)
        with served.service.database.write() as session:
            session.execute(update(Audit).values(user="nobody"))
    with pytest.raises(MSDEError, match="broken at its line 1"):
        run(*verify)


def test_a_folder_that_is_none_of_a_service_is_said(tmp_path):
    with pytest.raises(MSDEError, match="is no data folder of the service"):
        run("audit", "verify", "--data", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_log_has_the_digest_at_each_start(serve, caplog):
    caplog.set_level("INFO", "msde.serve")
    with serve() as served:
        served.send(png(1))
        digest = served.get("/api/audit")["rows"][0]["digest"]
    with serve():
        pass
    told = [vars(record)["fields"]["digest"] for record in caplog.records if record.getMessage() == "audit log"]
    assert told[-1] == digest


@pytest.mark.slow
def test_users_are_added_listed_and_removed_while_the_service_runs(serve, tmp_path):
    place = ("--data", tmp_path / "data")
    tokens = tmp_path / "data" / "tokens"
    with serve() as served:
        tokens.write_text(f"# ours\n{tokens.read_text()}")
        token = run("user", "add", "jane", *place).strip()
        chief = run("user", "add", "chief", "--role", "admin", *place).strip()
        assert run("user", "list", *place) == "admin\tadmin\njane\treader\nchief\tadmin\n"
        assert token not in tokens.read_text()
        assert stat.S_IMODE(tokens.stat().st_mode) == 0o600
        for given, role in ((token, "reader"), (chief, "admin")):
            answer = served.client.get("/api/session", headers={"authorization": f"Bearer {given}"})
            assert answer.json()["role"] == role
        for name, message in (("jane", "is there already"), ("jane doe", "no space"), ("#jane", "no #"), ("", "1 to")):
            with pytest.raises(MSDEError, match=message):
                run("user", "add", name, *place)
        assert run("user", "remove", "jane", *place) == "jane is removed\n"
        with pytest.raises(MSDEError, match="there is no user jane"):
            run("user", "remove", "jane", *place)
        assert served.client.get("/api/session", headers={"authorization": f"Bearer {token}"}).status_code == 401
        assert "no admin is left" not in call("user", "remove", "chief", *place).stderr
        said = [(row["action"], row["detail"]) for row in served.get("/api/audit")["rows"] if "user" in row["action"]]
        assert "no admin is left" in call("user", "remove", "admin", *place).stderr
    assert tokens.read_text() == "# ours\n"
    assert said == [
        ("remove user", {"name": "chief"}),
        ("remove user", {"name": "jane"}),
        ("add user", {"name": "chief", "role": "admin"}),
        ("add user", {"name": "jane", "role": "reader"}),
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
def test_what_root_does_stays_readable_for_the_service(tmp_path):
    (tmp_path / "data").mkdir()
    os.chown(tmp_path / "data", 65534, 65534)
    users.add(tmp_path / "data", "jane", "reader")
    assert {path.stat().st_uid for path in (tmp_path / "data").iterdir()} == {65534}
