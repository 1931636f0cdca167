"""Images in the archive, results in the archive, and the service between, with a real Orthanc."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from tests.patience import wait_until
from tests.serve.pacs.conftest import PATIENT, n_rows, radiographs
from tests.serve.pacs.impostor import forgetful, impostor, partly, silent
from tests.serve.pacs.orthanc import Orthanc
from tests.serve.pacs.test_multipart import KIND, encoded

from msde.serve.erasure import purge
from msde.serve.pacs.dicomweb import Pacs, PacsDownError
from msde.serve.pacs.sender import send
from msde.serve.pacs.settings import PacsSettings
from msde.serve.storage import outbox
from msde.serve.storage.dicom_ledger import DicomLedger
from msde.serve.storage.tables import Image, Outgoing, now

Serving = Callable[..., Any]


def archive(orthanc: Orthanc, **further: object) -> str:
    """Give a PACS file; JSON's values are TOML's."""
    settings = {"name": "archive", "url": orthanc.url, "poll_seconds": 0.5, "timeout": 5, **further}
    return "\n".join(["[[pacs]]", *(f"{key} = {json.dumps(value)}" for key, value in settings.items())])


def reports(orthanc: Orthanc) -> int:
    return sum(one["modality"] == "SR" and one["maker"] == "MSDE" for one in orthanc.instances())


@pytest.mark.slow
def test_results_of_what_the_archive_has_are_stored_there_once(
    orthanc: Orthanc, serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    files = radiographs(5)
    for file in files[:3]:
        orthanc.upload(file)
    with caplog.at_level(logging.DEBUG), serving(archive(orthanc)) as served:
        wait_until(lambda: n_rows(served, Outgoing, Outgoing.state == "sent") == 3, "three results")
        for file in files[3:]:
            orthanc.upload(file)
        wait_until(lambda: n_rows(served, Outgoing, Outgoing.state == "sent") == 5, "the other two")
        rounds = served.get("/api/pacs")["links"][0]["done"]
        wait_until(lambda: served.get("/api/pacs")["links"][0]["done"] != rounds, "a round with results in the archive")
        assert n_rows(served, Image) == 5, "results of our own were taken for images"
    found = orthanc.instances()
    assert Counter(one["modality"] for one in found) == {"CR": 5, "SR": 5, "OT": 10}, "a report and two pictures each"
    assert PATIENT not in caplog.text
    assert found[0]["uid"] not in caplog.text


@pytest.mark.slow
def test_an_archive_killed_in_the_midst_loses_and_doubles_nothing(orthanc: Orthanc, serving: Serving) -> None:
    files = radiographs(12)
    for file in files:
        orthanc.upload(file)
    with serving(archive(orthanc)) as served:
        wait_until(lambda: n_rows(served, Outgoing, Outgoing.state == "sent"), "a first result")
        orthanc.kill()
        wait_until(lambda: all(link["error"] for link in served.get("/api/pacs")["links"]), "the links notice")
        served.post("/api/pacs/retry")
        assert n_rows(served, Outgoing, Outgoing.state == "dead") == 0
    with serving(archive(orthanc)) as served:  # the service starts without the archive
        wait_until(lambda: all(link["error"] for link in served.get("/api/pacs")["links"]), "the links notice")
        orthanc.start()
        served.post("/api/pacs/retry")
        wait_until(lambda: n_rows(served, Outgoing, Outgoing.state == "sent") == 12, "all results")
        assert n_rows(served, Image) == 12
        assert n_rows(served, Outgoing) == 12
    assert reports(orthanc) == 12
    assert len(orthanc.instances()) == len({one["uid"] for one in orthanc.instances()})


@pytest.mark.slow
def test_results_wait_while_the_archive_is_slow_and_are_put_aside_when_it_keeps_none(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "FIRST_PAUSE", timedelta(0))
    with (
        impostor(forgetful) as lying,
        impostor(silent) as slow,
        serving(f'[stow]\n[[pacs]]\nurl = "{lying}"') as served,
    ):
        kind = {"Content-Type": KIND}
        assert served.post("/dicomweb/studies", content=encoded(radiographs(2)), headers=kind).status_code == 200
        wait_until(lambda: n_rows(served, Outgoing, Outgoing.state == "dead") == 2, "two dead letters")
        told = served.get("/api/pacs")
        assert told["outbox"] == {"pacs": {"dead": 2}}
        assert [(row["attempts"], row["destination"]) for row in told["dead_results"]] == [
            (outbox.ATTEMPTS, "pacs")
        ] * 2
        assert "does not give a result back" in told["dead_results"][0]["error"]

        with served.service.database.write() as session:
            session.execute(update(Outgoing).values(state="waiting", destination="slow", attempts=3, next_try=now()))
        with pytest.raises(PacsDownError, match="does not answer"):
            send(Pacs(PacsSettings(name="slow", url=slow, timeout=0.1)), served.service)
        assert n_rows(served, Outgoing, Outgoing.state == "waiting", Outgoing.attempts == 3) == 2


@pytest.mark.slow
def test_a_series_that_the_archive_cannot_list_holds_up_no_other(serving: Serving) -> None:
    with impostor(partly) as url, serving(f'[[pacs]]\nurl = "{url}"\npoll_seconds = 0.2') as served:
        ledger = DicomLedger(served.service.database)
        wait_until(lambda: ledger.n_settled("pacs", "1.2.6") == 1, "the series after the one that fails")
        assert ledger.may_try("pacs", "1.2.5") is False
        assert ledger.n_settled("pacs", "1.2.5") is None
        for _ in range(outbox.ATTEMPTS):
            ledger.fail("pacs", "1.2.5", "1.2.5", "no")
        (dead,) = served.get("/api/pacs")["dead_instances"]
        assert (dead["pacs"], dead["error"]) == ("pacs", "no")
        assert served.post("/api/pacs/retry").json()["instances"] == 1


@pytest.mark.slow
def test_a_result_whose_picture_is_kept_no_longer_is_put_aside_and_says_so(serving: Serving) -> None:
    away = "http://127.0.0.1:1/dicom-web"
    with serving(f'[stow]\n[[pacs]]\nurl = "{away}"') as served:
        served.post("/dicomweb/studies", content=encoded(radiographs(1)), headers={"Content-Type": KIND})
        wait_until(lambda: n_rows(served, Outgoing, Outgoing.state == "waiting"), "a result that waits")
        assert purge(served.service.database, served.service.store, timedelta(0), "test") == 1
        served.post("/api/pacs/retry")
        wait_until(lambda: n_rows(served, Outgoing, Outgoing.state == "dead"), "a result that is given up")
        [dead] = served.get("/api/pacs")["dead_results"]
        assert "its picture was removed before the result was sent" in dead["error"]
        assert PATIENT not in str(served.get("/api/images"))
