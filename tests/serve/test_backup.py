"""A copy of all that a service keeps, made while it runs, and put back."""

from __future__ import annotations

import io
import json
import shutil
import stat
import zipfile

import numpy as np
import pytest
from tests.images.medical import ct_slice
from tests.serve.conftest import png
from tests.serve.test_data_folder import run

from msde.errors import DataError, MSDEError
from msde.serve import backup
from msde.serve.storage import audit_chain


@pytest.mark.slow
def test_a_service_is_backed_up_while_it_runs_and_restored(serve, tmp_path):
    restored_into_new_databases(serve, tmp_path, f"sqlite:///{tmp_path / 'a.db'}", f"sqlite:///{tmp_path / 'b.db'}")


@pytest.mark.slow
def test_a_service_with_postgresql_is_backed_up_and_restored(serve, tmp_path, postgres):
    restored_into_new_databases(serve, tmp_path, postgres.database(), postgres.database())


def restored_into_new_databases(serve, tmp_path, url, other):
    place, target = ("--data", tmp_path / "data", "--database", url), tmp_path / "backup"
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        for slice_ in range(3):
            archive.writestr(f"{slice_}.dcm", ct_slice(np.full((32, 32), slice_, np.uint16), slice_, "1.2.3", slice_))
    with serve(database=url) as served:
        first = served.send(png(1))
        served.send(zipped.getvalue(), "series.zip")
        served.wait()
        served.client.post(f"/api/images/{first}/verdicts", json={"verdict": "normal", "note": "clear"})
        assert "2 images and 1 model version, 2 of them new" in run("backup", target, *place)
        served.send(png(2))
        served.wait()
        assert served.client.delete(f"/api/images/{first}").status_code == 204
        assert "2 images and 1 model version, 1 of them new" in run("backup", target, *place)
        assert [row["action"] for row in served.get("/api/audit")["rows"]].count("backup") == 2
        rows = served.wait()
        token = served.client.headers["authorization"]
    assert {oct(stat.S_IMODE(path.stat().st_mode) & 0o077) for path in [target, *target.rglob("*")]} == {"0o0"}

    back = ("restore", target, "--data", tmp_path / "new", "--database", other)
    damaged = next(target.glob("images/??/*.png"))
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-1])
    with pytest.raises(MSDEError, match="is damaged: its content is not what its name says"):
        run(*back)
    damaged.write_bytes(content)
    with pytest.raises(MSDEError, match="has a service's data already"):
        run(*back)
    shutil.rmtree(tmp_path / "new")
    assert "2 images and 1 model version and the database are restored" in run(*back)
    with pytest.raises(MSDEError, match="has a service's data already"):
        run(*back)
    with serve(data=str(tmp_path / "new"), database=other) as served:
        served.client.headers["authorization"] = token
        assert served.get("/api/images?limit=500")["rows"] == rows
        assert served.client.get(f"/api/images/{rows[0]['id']}/picture").status_code == 200
        actions = [row["action"] for row in served.get("/api/audit")["rows"]]
        assert actions[actions.index("restore") + 1] == "backup"
        with served.service.database.read() as session:
            audit_chain.verify(session)


def test_a_backup_is_not_mixed_with_anything_else(serve, tmp_path):
    target = tmp_path / "backup"
    place = ("--data", tmp_path / "data")
    with serve():
        target.mkdir()
        (target / "letter.txt").write_text("mine")
        with pytest.raises(DataError, match="has something that is no backup"):
            run("backup", target, *place)
        (target / "letter.txt").unlink()
        run("backup", target, *place)
        facts = json.loads((target / "backup.json").read_text())
        (target / "backup.json").write_text(json.dumps({**facts, "identity": "another"}))
        with pytest.raises(DataError, match="is a backup of another service"):
            run("backup", target, *place)
        for changed, message in (
            ({"format": backup.FORMAT + 1}, "was written by a newer version of msde"),
            ({"files": {}}, "is no whole backup"),
            ({"kind": "postgresql"}, "the backup is of postgresql, not sqlite"),
            ({"files": {**facts["files"], "tokens": "0" * 64}}, "tokens: is missing or altered"),
        ):
            (target / "backup.json").write_text(json.dumps({**facts, **changed}))
            with pytest.raises(DataError, match=message):
                run("restore", target, "--data", tmp_path / "new")
        assert not (tmp_path / "new" / "database-id").exists()
