"""Messages about flagged studies: what they say, when they are sent, and what becomes of those that are not taken."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select, update
from tests.images.medical import dicom_bytes
from tests.patience import wait_until
from tests.pictures import disc
from tests.serve.conftest import Serve, Served, png
from tests.serve.notify.receivers import Asked, HttpServer, MllpServer

from msde.errors import DataError
from msde.serve.notify import link
from msde.serve.notify.settings import NotifyFile
from msde.serve.notify.template import FIELDS, MessageTemplate
from msde.serve.storage.tables import Outgoing, now

SECRET = "a secret of twenty-four bytes and more"  # noqa: S105 - of a test
NAMED = "identifiers = true\nwait_seconds = 1\n"


def flagged_dicom(seed: int, **header: Any) -> bytes:
    pixels = disc(np.random.default_rng(seed), lesion=True).astype(np.uint16)
    return dicom_bytes(pixels, InstanceNumber=seed, WindowCenter=128, WindowWidth=256, **header)


def notes(folder: Path, text: str) -> Path:
    (folder / "secret").write_text(f"{SECRET}\n")
    file = folder / "notify.toml"
    file.write_text(text)
    return file


def webhook(server: HttpServer, further: str = "wait_seconds = 0") -> str:
    return (
        f'page = "https://msde.example.org/"\n[[webhook]]\nname = "ris"\nurl = "http://127.0.0.1:{server.port}/hook?a=1"\n'
        f'secret_file = "secret"\n{further}\n'
    )


@contextmanager
def notifying(serve: Serve, monkeypatch: pytest.MonkeyPatch, file: Path, **further: object) -> Iterator[Served]:
    monkeypatch.setattr(link, "SEND_SECONDS", 0.05)
    with serve(notify=str(file), **further) as served:
        yield served


def longer_than(items: list[str], before: int) -> bool:
    return len(items) > before


def is_signed(asked: Asked) -> bool:
    """Check a message as a receiver does by the rules of Standard Webhooks."""
    named = (asked.headers["webhook-id"], asked.headers["webhook-timestamp"], asked.body.decode())
    right = hmac.new(SECRET.encode(), ".".join(named).encode(), hashlib.sha256).digest()
    fresh = abs(time.time() - int(named[1])) < 60
    return fresh and asked.headers["webhook-signature"] == f"v1,{base64.b64encode(right).decode()}"


@pytest.mark.slow
def test_a_flagged_image_is_told_of_once_signed_and_on_record(serve, tmp_path, monkeypatch):
    with HttpServer() as server, notifying(serve, monkeypatch, notes(tmp_path, webhook(server))) as served:
        served.send(png(1), "Doe^Jane.png")
        number = served.send(png(2, lesion=True), "Doe^John.png")
        served.wait()
        wait_until(lambda: served.get("/api/notifications")["receivers"][0]["outbox"] == {"sent": 1}, "a message")
        (asked,) = server.asked
        assert asked.path == "/hook?a=1"
        assert is_signed(asked)
        told = json.loads(asked.body)
        row = served.get(f"/api/images/{number}")
        assert told["type"] == "msde.study.flagged"
        assert told["data"]["p_value"] == pytest.approx(row["p_value"], rel=1e-5)
        assert (told["data"]["image"], told["data"]["words"]) == (number, row["words"])
        assert told["data"]["url"] == f"https://msde.example.org/#model=discs&image={number}"
        assert b"Doe" not in asked.body
        (line,) = [row for row in served.get("/api/audit")["rows"] if row["action"] == "notify"]
        assert line["detail"] == {
            "receiver": "ris",
            "event": asked.headers["webhook-id"],
            "images": 1,
            "identifiers": False,
        }
        assert line["image"] == number


@pytest.mark.slow
def test_what_is_refused_is_tried_again_and_given_up_in_the_end(serve, tmp_path, monkeypatch):
    with (
        HttpServer(400, 503) as server,
        notifying(serve, monkeypatch, notes(tmp_path, webhook(server))) as served,
    ):
        served.send(png(2, lesion=True))
        served.wait()

        def state() -> dict:
            return served.get("/api/notifications")

        wait_until(lambda: len(server.asked) == 1, "an attempt")
        with served.service.database.write() as session:  # the pause is over, and eleven attempts have failed
            wait_until(lambda: session.scalar(select(Outgoing.attempts)) == 1, "what came of it")
            assert session.scalar(select(Outgoing.error)) == "ris refuses it with 400"
            session.execute(update(Outgoing).values(next_try=now() - timedelta(seconds=1)))
        # 503 says nothing of the message: it is no attempt.
        wait_until(lambda: state()["receivers"][0]["error"] == "ris answers 503", "a receiver that is away")
        assert state()["dead"] == []
        with served.service.database.write() as session:
            session.execute(update(Outgoing).values(state="dead"))
        assert [row["error"] for row in state()["dead"]] == ["ris refuses it with 400"]
        assert served.client.post("/api/notifications/retry").json() == {"notifications": 1}
        wait_until(lambda: state()["receivers"][0]["outbox"] == {"sent": 1}, "a message that is taken")
        assert len({asked.headers["webhook-id"] for asked in server.asked}) == 1
        assert "retry notifications" in [row["action"] for row in served.get("/api/audit")["rows"]]


@pytest.mark.slow
def test_a_study_is_one_message_when_it_has_come_to_rest(serve, tmp_path, monkeypatch):
    with (
        HttpServer() as http,
        MllpServer("AE", "") as mllp,
        notifying(
            serve,
            monkeypatch,
            notes(
                tmp_path,
                f'[[hl7]]\nname = "orm"\nhost = "127.0.0.1"\nport = {mllp.port}\n{NAMED}'
                f'[[fhir]]\nname = "fhir"\nurl = "http://127.0.0.1:{http.port}/r4/"\n{NAMED}'
                + webhook(http, "wait_seconds = 3600").partition("\n")[2],
            ),
            identifiers=True,
        ) as served,
    ):
        header = {
            "PatientID": "12|3^4",
            "PatientName": "Doe^Jane",
            "AccessionNumber": "A7",
            "StudyInstanceUID": "1.2.7",
        }
        for seed in range(3):
            served.send(flagged_dicom(seed, **header), f"{seed}.dcm")
        rows = served.wait()
        assert {row["flagged"] for row in rows} == {True}

        def outbox() -> dict[str, dict[str, int]]:
            return {one["name"]: one["outbox"] for one in served.get("/api/notifications")["receivers"]}

        wait_until(lambda: outbox()["fhir"] == {"sent": 3}, "a resource of FHIR")
        assert outbox()["ris"] == {"waiting": 3}
        resources = [json.loads(asked.body) for asked in http.asked]
        assert {asked.path for asked in http.asked} == {"/r4/Observation"}
        assert http.asked[0].headers["if-none-exist"].endswith(resources[0]["identifier"][0]["value"])
        assert resources[-1]["subject"]["identifier"]["value"] == "12|3^4"
        assert resources[-1]["derivedFrom"][0]["identifier"]["value"] == "urn:oid:1.2.7"
        wait_until(lambda: mllp.messages, "a message of HL7")

        def refused() -> bool:
            with served.service.database.read() as session:
                return None not in session.scalars(select(Outgoing.error).where(Outgoing.destination == "orm")).all()

        wait_until(refused, "the end of the first attempt")
        for _ in range(2):  # it was refused, and then the connection ended
            before = len(mllp.messages)
            with served.service.database.write() as session:
                session.execute(update(Outgoing).where(Outgoing.destination == "orm").values(next_try=now()))
            served.client.post("/api/notifications/retry")
            wait_until(partial(longer_than, mllp.messages, before), "another attempt")
        wait_until(lambda: outbox()["orm"] == {"sent": 3}, "a message of HL7 that is taken")
        segments = {line.split("|")[0]: line.split("|") for line in mllp.messages[-1].split("\r")}
        assert segments["PID"][3:6] == ["12\\F\\3\\S\\4", "", "Doe^Jane"]
        assert segments["OBR"][2] == "A7"
        assert "OBX|2|NM|IMAGES^Flagged images of the study^L||3|" in mllp.messages[-1]
        assert len({message.split("|")[9] for message in mllp.messages}) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[webhook]]\nname = 'a'\nurl = 'http://x'", "webhook.0: a webhook is signed; give secret_file"),
        ("[[webhook]]\nname = 'a'\nurl = 'http://x'\nsecret_file = 'short'", "holds no secret of 24 bytes"),
        ("[[webhook]]\nname = 'a'\nurl = 'ftp://x'\nsecret_file = 'secret'", "must be like https://"),
        ("[[fhir]]\nname = 'a'\nurl = 'http://x'\ntoken_file = 'secret'", "goes over https only"),
        ("[[fhir]]\nname = 'a'\nurl = 'https://x'\nidentifiers = true", "start the service with --identifiers"),
        ("[[fhir]]\nname = 'a'\nurl = 'https://x'\ntemplate = 'gone'", "gone: No such file"),
        ("[[fhir]]\nname = 'a'\nurl = 'https://x'\ntemplate = 'named'", "patient_id tells the patient"),
        ("[[fhir]]\nname = 'a'\nurl = 'https://x'\ntemplate = 'odd'", "shoe_size is no field"),
        ("[[fhir]]\nname = 'a'\nurl = 'https://x'\ntemplate = 'dollar'", "names no field; write"),
        ("[[fhir]]\nname = 'a'\nurl = 'https://x'\ntemplate = 'secret'", "is no JSON when it is filled"),
        ("[[fhir]]\nname = 'a'\nurl = 'https://x'\ntemplate = 'list'", "has no resourceType"),
        ("[[hl7]]\nname = 'a'\nhost = 'x'\n[[fhir]]\nname = 'a'\nurl = 'https://x'", "two receivers have one name"),
        ("[[hl7]]\nname = 'a'\nhost = 'x'\ncolour = 'red'", "Extra inputs"),
        ("[hl7", "cannot be read"),
    ],
)
def test_a_file_that_would_do_harm_or_nothing_is_refused_in_one_line(tmp_path, text, message):
    for name, content in {
        "short": "short",
        "named": '{"resourceType": "Observation", "subject": "$patient_id"}',
        "odd": '{"resourceType": "$shoe_size"}',
        "dollar": '{"resourceType": "5 $"}',
        "list": '{"type": "list"}',
    }.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message) as refused:
        NotifyFile.read(notes(tmp_path, text), identifiers=False)
    assert "\n" not in str(refused.value)


def test_no_value_can_end_the_text_around_it():
    evil = {"words": 'a", "b": "c\r\nPID|1||$url^\\', "patient_id": "|"}
    numbers = {"images": "1", "image": "1", "version": "1", "p_value": "0.1", "anomaly_score": "2"}
    values = dict.fromkeys(FIELDS, "x") | numbers | evil
    for kind in ("webhook", "fhir"):
        filled = json.loads(MessageTemplate(kind, None, identifiers=False).fill(values))
        told = filled["data"]["words"] if kind == "webhook" else filled["note"][0]["text"]
        assert told.startswith(evil["words"])
    text = MessageTemplate("hl7", None, identifiers=False).fill(values)
    plain = MessageTemplate("hl7", None, identifiers=False).fill({**values, "words": "x"})
    assert [len(line.split("|")) for line in text.splitlines()] == [len(line.split("|")) for line in plain.splitlines()]
