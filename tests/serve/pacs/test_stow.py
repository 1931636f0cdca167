"""STOW-RS in, as part 18 of the standard has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.dicom.conftest import result  # noqa: F401 - a fixture
from tests.dicom.kinds import KINDS
from tests.dicom.sources import radiograph, shipped
from tests.serve.pacs.conftest import Served, n_rows, radiographs
from tests.serve.pacs.test_instance import as_file
from tests.serve.pacs.test_multipart import KIND, encoded

from msde.dicom import Result
from msde.serve.storage.tables import Image

Serving = Callable[..., Any]


def post(served: Served, body: bytes, study: str = "", kind: str = KIND) -> tuple[int, dict]:
    answer = served.post(f"/dicomweb/studies{study}", content=body, headers={"Content-Type": kind})
    return answer.status_code, answer.json()


def uids(answer: dict, tag: str) -> list[str]:
    return [item["00081155"]["Value"][0] for item in answer.get(tag, {}).get("Value", [])]


def reasons(answer: dict, tag: str = "00081198") -> list[int]:
    return [item["00081197"]["Value"][0] for item in answer.get(tag, {}).get("Value", [])]


def test_what_is_stored_and_what_is_not_is_told_for_each(serving: Serving, result: Result) -> None:  # noqa: F811
    images = radiographs(3)
    report = as_file(shipped("reportsi.dcm"))
    with serving("[stow]\ninstances = 4\ninstance_megabytes = 1") as served:
        status, answer = post(served, encoded(images))
        assert (status, len(uids(answer, "00081199")), reasons(answer)) == (200, 3, [])
        status, again = post(served, encoded(images[:1]))
        assert (status, uids(again, "00081199")) == (200, uids(answer, "00081199")[:1])
        assert n_rows(served, Image) == 3
        status, answer = post(served, encoded([images[0], report, b"no DICOM"]))
        assert (status, reasons(answer), reasons(answer, "0008119A")) == (202, [0x0122], [0xC000])
        status, answer = post(served, encoded([report]))
        assert (status, reasons(answer)) == (409, [0x0122])
        status, answer = post(served, encoded(images), "/1.2.3")
        assert (status, reasons(answer)) == (409, [0x0110] * 3)
        assert post(served, encoded([as_file(KINDS["parametric map"](radiograph(), result))]))[0] == 200
        assert n_rows(served, Image) == 3
        assert {row["origin"] for row in served.get("/api/images")["rows"]} == {"stow"}
        recorded = served.get("/api/audit?action=upload")["rows"]
        sent = {"origin": "stow", "address": "testclient", "known": False}
        assert [(row["user"], row["detail"]) for row in recorded] == [("admin", sent)] * 3
        refused = {row["detail"]["reason"] for row in served.get("/api/audit?action=refused")["rows"]}
        assert refused == {"no picture", "damaged", "of another study"}

        for body, kind, status in (
            (encoded(images)[:-20], KIND, 400),
            (b"--XyZ\r\nnonsense", KIND, 400),
            (encoded(images), "multipart/related", 415),
            (images[0], "application/dicom", 415),
            (encoded([images[0] + bytes(1_000_000)]), KIND, 413),
            (encoded([images[0]] * 5), KIND, 413),
        ):
            assert post(served, body, kind=kind)[0] == status
        assert post(served, encoded(images), "/patient")[0] == 400
        assert served.client.post("/dicomweb/studies", content=b"", headers={"Content-Type": KIND}).status_code == 401
        assert n_rows(served, Image) == 3


def test_a_full_queue_is_told_to_the_sender(serving: Serving) -> None:
    with serving("[stow]", queue=0) as served:
        answer = served.post("/dicomweb/studies", content=encoded(radiographs(2)), headers={"Content-Type": KIND})
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert reasons(answer.json()) == [0xA700] * 2
        assert n_rows(served, Image) == 0


def test_without_stow_there_is_no_such_route(serving: Serving) -> None:
    with serving() as served:
        assert served.post("/dicomweb/studies", content=b"").status_code in (404, 405)
