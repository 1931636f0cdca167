"""C-STORE and C-ECHO by pynetdicom's other side, and by Orthanc."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom import AE
from pynetdicom.association import Association
from tests.dicom.conftest import result  # noqa: F401 - a fixture
from tests.dicom.kinds import KINDS
from tests.dicom.sources import radiograph, shipped
from tests.patience import PATIENCE
from tests.serve.pacs.conftest import n_rows
from tests.serve.pacs.orthanc import Orthanc, free_port

from msde.dicom import Result
from msde.errors import MSDEError
from msde.serve.storage.tables import Image

Serving = Callable[..., Any]


@contextmanager
def association(port: int, *datasets: Dataset, called: str = "MSDE", caller: str = "CT1") -> Iterator[Association]:
    ae = AE(caller)
    ae.add_requested_context("1.2.840.10008.1.1")
    for dataset in datasets:
        ae.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
    opened = ae.associate("127.0.0.1", port, ae_title=called)
    line = opened.dul.socket.socket if opened.is_established else None
    try:
        yield opened
    finally:
        if opened.is_established:
            opened.release()
        ae.shutdown()
        if line is not None:
            line.close()  # the library leaves it open where the other side closed first


def status(opened: Association, dataset: Dataset) -> int:
    return opened.send_c_store(dataset).get("Status", -1)


@pytest.mark.slow
def test_images_are_taken_once_and_everything_else_is_told(serving: Serving, result: Result) -> None:  # noqa: F811
    port = free_port()
    image, compressed, report = radiograph(), shipped("JPEG2000.dcm"), shipped("reportsi.dcm")
    own = KINDS["secondary capture"](image, result)
    sizeless, strange, empty = shipped("MR_small.dcm"), shipped("CT_small.dcm"), radiograph()
    del sizeless.Rows, empty.PixelData
    empty.SOPInstanceUID = empty.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3.5")
    whole = radiograph()
    whole.SOPInstanceUID = whole.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3.5")
    whole.PixelData = bytes(reversed(whole.PixelData))
    strange.StudyInstanceUID = ""
    with serving(f"[listen]\nport = {port}\ninstance_megabytes = 1") as served:
        with association(port, image, compressed, own, sizeless, strange, report) as opened:
            assert opened.send_c_echo().Status == 0
            assert [status(opened, one) for one in (image, compressed, own, image)] == [0, 0, 0, 0]
            assert [status(opened, one) for one in (sizeless, empty, empty)] == [0xC000] * 3
            assert status(opened, whole) == 0  # mended, and sent again
            assert status(opened, strange) == 0xC000
            with pytest.raises(ValueError, match="No presentation context"):
                opened.send_c_store(report)
        assert n_rows(served, Image) == 3
        assert {row["origin"] for row in served.get("/api/images")["rows"]} == {"dimse:CT1"}
        recorded = served.get("/api/audit?action=upload")["rows"]
        sent = {"origin": "dimse:CT1", "address": "127.0.0.1", "known": False}
        assert [(row["user"], row["detail"]) for row in recorded] == [("dimse:CT1", sent)] * 3
        large = radiograph()
        large.SOPInstanceUID, large.Rows, large.Columns = "1.2.3.4", 1500, 1000
        large.PixelData = bytes(1_500_000)
        with association(port, large) as opened:
            assert status(opened, large) == -1
        with association(port, image, called="OTHER") as opened:
            assert opened.is_rejected
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as stranger:
            stranger.sendall(struct.pack(">BBL", 1, 0, 2**32 - 1))
            assert stranger.recv(1) == b""
        with association(port, image) as opened:
            assert status(opened, image) == 0
        assert n_rows(served, Image) == 3
        counted = served.client.get("/metrics", headers={"Authorization": f"Bearer {served.token}"}).text
        assert 'msde_pacs_objects_total{fate="taken",way="dimse"} 3.0' in counted


@pytest.mark.slow
def test_only_named_callers_may_send(serving: Serving) -> None:
    port = free_port()
    with serving(f'[listen]\nport = {port}\ncallers = ["CT1"]') as served:
        for caller, welcome in (("CT1", True), ("CT2", False)):
            with association(port, radiograph(), caller=caller) as opened:
                assert opened.is_established is welcome
        assert [row["detail"]["tried"] for row in served.get("/api/audit?action=denied")["rows"]] == ["dimse:CT2"]


@pytest.mark.slow
def test_a_full_queue_is_told_to_the_sender(serving: Serving) -> None:
    port = free_port()
    with serving(f"[listen]\nport = {port}", queue=0) as served, association(port, radiograph()) as opened:
        assert status(opened, radiograph()) == 0xA700
        assert n_rows(served, Image) == 0


def test_a_port_in_use_is_told(serving: Serving) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(MSDEError, match="cannot listen for DICOM"), serving(f"[listen]\nport = {port}"):
            pass


@pytest.mark.slow
def test_orthanc_sends_what_it_has(orthanc: Orthanc, serving: Serving) -> None:
    for name in ("CT_small.dcm", "JPEG2000.dcm", "reportsi.dcm"):
        orthanc.upload(Path(shipped(name).filename).read_bytes())
    port = free_port()
    with serving(f"[listen]\nport = {port}") as served:
        orthanc.send("MSDE", port)
        assert n_rows(served, Image) == 2
