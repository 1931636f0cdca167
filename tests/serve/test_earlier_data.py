"""Data folders of earlier versions.

Of 0.1: one image scored and judged, one queued, a result to send, an archive read; of 0.2: images with evidence.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.serve.conftest import png

from msde.serve.storage import audit_chain
from msde.serve.storage.dicom_ledger import DicomLedger

EARLIER = Path(__file__).parents[1] / "data" / "service-0.1"


@pytest.fixture
def earlier(tmp_path) -> Path:
    """Copy the folder to where `serve` looks for one, and the model file to where it was; return the latter."""
    shutil.copytree(EARLIER, tmp_path / "data")
    model = tmp_path / "small.msde"
    shutil.copyfile(next((EARLIER / "models").iterdir()), model)
    return model


def test_the_service_goes_on_with_the_data_of_an_earlier_version(serve, earlier):
    with serve(models=(str(earlier),)) as served:
        queued, judged = served.wait()
        assert (judged["name"], judged["state"], judged["verdict"]) == ("1.png", "scored", "normal")
        assert judged["anomaly_score"] == pytest.approx(13.861496047801895, rel=1e-12)
        assert judged["p_value"] == pytest.approx(17 / 41)
        assert (queued["name"], queued["state"], queued["flagged"]) == ("2.png", "scored", True)
        assert queued["anomaly_score"] == pytest.approx(26.901660171214658, rel=1e-6)
        assert [model["version"] for model in served.get("/api/models")["models"]] == [1]
        verdicts = served.get("/api/images/1")["verdicts"]
        assert [(verdict["note"], verdict["reader"]) for verdict in verdicts] == [("clear", "admin")]
        assert served.client.post("/api/images", content=png(1)).json()["images"][0]["known"]
        ledger = DicomLedger(served.service.database)
        assert (ledger.find("1.2.3").fate, ledger.n_settled("pacs", "1.2")) == ("taken", 1)
        assert ledger.may_try("pacs", "1.2.4")
        assert ledger.revive() == 1
        with served.service.database.read() as session:
            assert audit_chain.verify(session).lines > 2  # those of the earlier version among them
        new = served.send(png(3), "3.png")
        assert {row["id"] for row in served.wait() if row["state"] == "scored"} == {1, 2, new}


def test_it_goes_on_with_the_data_of_version_0_2(serve, tmp_path):
    folder = EARLIER.with_name("service-0.2")
    shutil.copytree(folder, tmp_path / "data")
    model = tmp_path / "small.msde"
    shutil.copyfile(next((folder / "models").iterdir()), model)
    with serve(models=(str(model),)) as served:
        second, first = served.wait()
        assert (first["name"], first["state"], first["verdict"]) == ("1.png", "scored", "normal")
        assert first["anomaly_score"] == pytest.approx(14.588727498635475, rel=1e-12)
        assert (second["flagged"], second["evidence"]) == (True, "unlike the normals")
        (verdict,) = served.get("/api/images/1")["verdicts"]
        assert (verdict["note"], verdict["reader"]) == ("clear", "admin")
        assert [one["version"] for one in served.get("/api/models")["models"]] == [1]
        assert served.client.post("/api/images", content=png(1)).json()["images"][0]["known"]
        new = served.send(png(3), "3.png")
        assert {row["id"] for row in served.wait() if row["state"] == "scored"} == {1, 2, new}
