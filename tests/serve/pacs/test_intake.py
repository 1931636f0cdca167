"""What came under a UID counts, and not the UID alone: damaged ones are refused or replaced, other pixels refused."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, RLELossless, generate_uid
from sqlalchemy import select
from tests.dicom.conftest import result  # noqa: F401 - a fixture
from tests.dicom.kinds import KINDS
from tests.dicom.sources import radiograph, shipped
from tests.patience import wait_until
from tests.serve.pacs.conftest import Served, n_rows, radiographs
from tests.serve.pacs.impostor import giving, having, impostor
from tests.serve.pacs.orthanc import free_port
from tests.serve.pacs.test_instance import as_file
from tests.serve.pacs.test_multipart import encoded
from tests.serve.pacs.test_receiver import association, status
from tests.serve.pacs.test_stow import post, reasons, uids

from msde.dicom import Result
from msde.serve.intake.image_rows import Sender
from msde.serve.pacs.dicomweb import Pacs
from msde.serve.pacs.intake import Fate, Intake
from msde.serve.pacs.poller import MISSED, poll
from msde.serve.pacs.sender import send
from msde.serve.pacs.settings import PacsSettings
from msde.serve.storage import dicom_ledger, outbox
from msde.serve.storage.dicom_ledger import DicomLedger
from msde.serve.storage.tables import DicomInstance, Image, Outgoing, Score

Serving = Callable[..., Any]


def intake_of(served: Served) -> Intake:
    service = served.service
    return Intake(service.reception, DicomLedger(service.database), CollectorRegistry(), service.refusals)


def wait_for_states(served: Served, *states: str) -> None:
    def found() -> bool:
        with served.service.database.read() as session:
            return sorted(session.scalars(select(Score.state))) == sorted(states)

    wait_until(found, f"states {states}", 0.02)


def damaged(dataset: Dataset) -> dict[str, bytes]:
    """Give a file as it arrives damaged: cut in its pixels, with pixels that lack their end, or with none."""
    whole = as_file(dataset)
    short, none = dcmread(io.BytesIO(whole)), dcmread(io.BytesIO(whole))
    short.PixelData = short.PixelData[: len(short.PixelData) // 4 * 2]
    none.PixelData = b""
    return {"cut": whole[:-100], "short": as_file(short), "none": as_file(none)}


def unreadable(content: bytes) -> bytes:
    """Damage a compressed stream, whose length stays."""
    dataset = dcmread(io.BytesIO(content))
    dataset.PixelData = encapsulate([b"\xff\x4f\xff\x51" + bytes(2000)])
    return as_file(dataset)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cut", "short", "none"])
@pytest.mark.parametrize("way", ["stow", "dimse", "intake"])
def test_what_arrives_damaged_is_refused_and_the_whole_one_is_taken(serving: Serving, way: str, kind: str) -> None:
    whole, broken = as_file(radiograph()), damaged(radiograph())[kind]
    port = free_port()
    with serving(f"[stow]\n[listen]\nport = {port}") as served:
        if way == "stow":
            for _ in range(2):
                assert post(served, encoded([broken]))[0] == 409
            assert post(served, encoded([whole]))[0] == 200
        elif way == "intake":
            assert [intake_of(served).take(one, Sender("poll:a"))[1] for one in (broken, whole)] == [
                Fate.REFUSED,
                Fate.TAKEN,
            ]
        elif kind != "cut":  # which a sender of our library could not send
            with association(port, radiograph()) as opened:
                sent = [dcmread(io.BytesIO(one)) for one in (broken, whole)]
                assert [status(opened, one) for one in sent] == [0xC000, 0]
        if way != "dimse" or kind != "cut":
            wait_for_states(served, "scored")
            assert n_rows(served, Image) == 1


@pytest.mark.slow
def test_other_bytes_replace_what_could_not_be_scored_and_the_same_are_refused(serving: Serving) -> None:
    whole = Path(shipped("JPEG2000.dcm").filename).read_bytes()
    broken = unreadable(whole)
    with serving("[stow]") as served:
        intake = intake_of(served)
        assert intake.take(broken, Sender("poll:a"))[1] is Fate.TAKEN
        wait_for_states(served, "failed")
        assert intake.take(broken, Sender("poll:a"))[1] is Fate.REFUSED
        status, answer = post(served, encoded([broken]))
        assert (status, reasons(answer)) == (409, [0xC000])
        assert post(served, encoded([whole]))[0] == 200
        wait_for_states(served, "scored")
        assert [row["state"] for row in served.get("/api/images")["rows"]] == ["scored"]
        assert [row["image"] for row in served.get("/api/audit?action=replace")["rows"]] == [1]
        assert len([path for path in served.service.store.images.rglob("*") if path.is_file()]) == 1
        assert intake.take(whole, Sender("poll:a"))[1] is Fate.KNOWN


@pytest.mark.slow
def test_what_waits_and_cannot_be_read_is_replaced_too(serving: Serving) -> None:
    whole = Path(shipped("JPEG2000.dcm").filename).read_bytes()
    with serving() as served:
        served.service.scorers.stop()
        intake = intake_of(served)
        broken = unreadable(whole)
        fates = [intake.take(one, Sender("poll:a"))[1] for one in (broken, broken, whole, whole)]
        assert fates == [Fate.TAKEN, Fate.KNOWN, Fate.TAKEN, Fate.KNOWN]


@pytest.mark.slow
def test_of_two_that_come_at_once_under_a_uid_one_is_taken(serving: Serving) -> None:
    """Each process has an intake of its own."""
    with serving() as served:
        intakes = [intake_of(served), intake_of(served)]
        for number in range(8):
            images = [radiograph(), radiograph()]
            for value, image in enumerate(images):
                image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = UID(f"1.2.3.{number}")
                image.PixelData = bytes((number, value)) * (len(image.PixelData) // 2)
            together = Barrier(2)

            def take(intake: Intake, image: Dataset, together: Barrier = together) -> Fate:
                content = as_file(image)
                together.wait()
                return intake.take(content, Sender("stow"))[1]

            with ThreadPoolExecutor(2) as pool:
                assert sorted(pool.map(take, intakes, images)) == [Fate.OTHER_PIXELS, Fate.TAKEN]


def test_a_verdict_keeps_what_could_not_be_scored(serving: Serving) -> None:
    whole = Path(shipped("JPEG2000.dcm").filename).read_bytes()
    with serving() as served:
        intake = intake_of(served)
        intake.take(unreadable(whole), Sender("poll:a"))
        wait_for_states(served, "failed")
        assert served.post("/api/images/1/verdicts", json={"verdict": "unsure"}).status_code == 201
        assert intake.take(whole, Sender("poll:a"))[1] is Fate.TAKEN
        wait_for_states(served, "failed", "scored")


@pytest.mark.slow
def test_other_sound_pixels_under_a_known_uid_are_refused_and_logged(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = radiograph(), radiograph()
    second.PixelData = bytes(255 - value for value in second.PixelData)
    port = free_port()
    with serving(f"[stow]\n[listen]\nport = {port}") as served:
        assert post(served, encoded([as_file(first)]))[0] == 200
        code, answer = post(served, encoded([as_file(second)]))
        assert (code, reasons(answer), uids(answer, "00081199")) == (409, [0x0111], [])
        with association(port, first) as opened:
            assert [status(opened, one) for one in (second, first)] == [0x0111, 0]
        assert n_rows(served, Image) == 1
        assert caplog.text.count("with other pixels, and was refused") == 2
        assert first.SOPInstanceUID not in caplog.text
        noted = [row["detail"] for row in served.get("/api/audit?action=refused")["rows"]]
        assert sorted((one["origin"], one["reason"]) for one in noted) == [
            ("dimse:CT1", "other pixels"),
            ("stow", "other pixels"),
        ]
        wait_for_states(served, "scored")
        headers = {"Authorization": f"Bearer {served.token}"}
        assert served.client.delete("/api/images/1", headers=headers).status_code == 204
        assert post(served, encoded([as_file(second)]))[0] == 409
        assert post(served, encoded([as_file(first)]))[0] == 200, "known, and not taken again"
        assert n_rows(served, Image) == 0


def packed(content: bytes, syntax: str) -> bytes:
    dataset = dcmread(io.BytesIO(content))
    if syntax == RLELossless:
        dataset.compress(RLELossless, generate_instance_uid=False)
        return as_file(dataset)
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    return as_file(dataset)


@pytest.mark.slow
@pytest.mark.parametrize("syntax", [RLELossless, DeflatedExplicitVRLittleEndian])
def test_the_same_pixels_are_known_however_they_are_packed_and_named(serving: Serving, syntax: str) -> None:
    dataset = radiograph()
    content = as_file(dataset)
    dataset.PatientName = "Corrected^Name"
    with serving() as served:
        intake = intake_of(served)
        assert intake.take(content, Sender("poll:a"))[1] is Fate.TAKEN
        assert intake.take(as_file(dataset), Sender("poll:a"))[1] is Fate.KNOWN
        assert intake.take(packed(content, syntax), Sender("poll:a"))[1] is Fate.KNOWN
        assert n_rows(served, Image) == 1


@pytest.mark.slow
def test_an_instance_of_an_earlier_version_is_known_by_its_uid(serving: Serving) -> None:
    with serving() as served:
        intake = intake_of(served)
        intake.ledger.note(radiograph().SOPInstanceUID, Fate.TAKEN)
        assert intake.take(as_file(radiograph()), Sender("poll:a"))[1] is Fate.KNOWN


@pytest.mark.slow
def test_a_spoofed_maker_hides_no_image(serving: Serving) -> None:
    image = radiograph()
    image.Manufacturer, image.DeviceSerialNumber = "MSDE", "0123456789abcdef" * 4
    source = Dataset()
    source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = image.SOPClassUID, "1.2.3"
    image.SourceImageSequence = [source]
    with impostor(giving([as_file(image)])) as url, serving() as served:
        assert poll(Pacs(PacsSettings(url=url)), intake_of(served)) == {Fate.TAKEN: 1}
        wait_for_states(served, "scored")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_result_of_another_service_is_none_to_score(serving: Serving, kind: str, result: Result) -> None:  # noqa: F811
    with serving() as served:
        content = as_file(KINDS[kind](radiograph(), result))
        assert intake_of(served).take(content, Sender("poll:a"))[1] is Fate.OWN


def stripped(dataset: Dataset, *, renamed: bool = False) -> bytes:
    """Give a result as an archive may give it back: without maker, serial number and sources, under another UID."""
    for keyword in ("Manufacturer", "DeviceSerialNumber", "SourceImageSequence", "SoftwareVersions"):
        if keyword in dataset:
            delattr(dataset, keyword)
    if renamed:
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.SeriesInstanceUID = generate_uid()
    return as_file(dataset)


@pytest.mark.slow
@pytest.mark.parametrize("renamed", [False, True])
def test_what_was_sent_is_known_though_the_archive_strips_who_made_it(serving: Serving, renamed: bool) -> None:
    kept: dict[str, bytes] = {}
    with impostor(having(200, None, kept=kept)) as url, serving("[stow]") as served:
        assert post(served, encoded(radiographs(1)))[0] == 200
        wait_for_states(served, "scored")
        with served.service.database.write() as session:
            session.add(Outgoing(score_id=session.scalars(select(Score.id)).one(), destination="pacs"))
        assert send(Pacs(PacsSettings(url=url)), served.service) == {"sent": 1}
        pictures = [one for one in map(dcmread, map(io.BytesIO, kept.values())) if "PixelData" in one]
        assert pictures
        intake = intake_of(served)
        for one in pictures:
            assert intake.take(stripped(one, renamed=renamed), Sender("dimse:PACS"))[1] is Fate.OWN
        assert n_rows(served, Image) == 1


def test_another_picture_under_the_uid_of_a_result_is_refused(serving: Serving, result: Result) -> None:  # noqa: F811
    own = KINDS["secondary capture"](radiograph(), result)
    with serving() as served:
        intake = intake_of(served)
        assert intake.take(as_file(own), Sender("poll:a"))[1] is Fate.OWN
        image = radiograph()
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = own.SOPInstanceUID
        assert intake.take(as_file(image), Sender("poll:a"))[1] is Fate.OTHER_PIXELS


CUTS: dict[str, Callable[[bytes], bytes]] = {
    "in the pixels": lambda body: body[: len(body) // 2],
    "near the end": lambda body: body[:-200],
    "in a whole body": lambda body: body[:-300] + b"\r\n--xyz--\r\n",
    "at once": lambda body: body[:60],
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", CUTS)
def test_polling_that_ends_early_takes_the_instance_later(
    serving: Serving, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dicom_ledger, "FIRST_PAUSE", timedelta(0))
    early = [True]
    files = radiographs(2)
    with (
        impostor(giving(files, lambda body: CUTS[kind](body) if early[0] else body)) as url,
        serving() as served,
    ):
        pacs, intake = Pacs(PacsSettings(url=url)), intake_of(served)
        for _ in range(2):
            assert poll(pacs, intake) == {MISSED: 2}
            assert n_rows(served, Image) == 0
        early[0] = False
        assert poll(pacs, intake) == {Fate.TAKEN: 2}
        assert poll(pacs, intake) == {}
        wait_for_states(served, "scored", "scored")


@pytest.mark.slow
def test_what_stays_damaged_in_the_archive_is_given_up(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_ledger, "FIRST_PAUSE", timedelta(0))
    monkeypatch.setattr(dicom_ledger, "LONGEST_PAUSE", timedelta(0))
    files = [damaged(radiograph())["none"]]
    with impostor(giving(files)) as url, serving() as served:
        pacs, intake = Pacs(PacsSettings(url=url)), intake_of(served)
        for _ in range(outbox.ATTEMPTS):
            assert poll(pacs, intake) == {MISSED: 1}
        assert poll(pacs, intake) == {}
        assert len(intake.ledger.dead(9)) == 1
        assert n_rows(served, DicomInstance, DicomInstance.fate == "refused") == 1
