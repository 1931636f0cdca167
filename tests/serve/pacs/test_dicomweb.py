"""The archive's side of DICOMweb: a real Orthanc, and servers that only look like one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from tests.dicom.conftest import result  # noqa: F401 - a fixture
from tests.dicom.kinds import KINDS
from tests.dicom.sources import shipped
from tests.patience import PATIENCE
from tests.serve.pacs.impostor import (
    dripping,
    elsewhere,
    endless,
    forgetful,
    forgetting_offsets,
    having,
    impostor,
    page,
    repeating,
    silent,
)
from tests.serve.pacs.orthanc import PASSWORD, USER, Orthanc, free_port

from msde.dicom import Result
from msde.serve.pacs.dicomweb import Listed, Pacs, PacsDownError, PacsError, Series
from msde.serve.pacs.link import check
from msde.serve.pacs.settings import PacsFile, PacsSettings

LONG_AGO = date(1990, 1, 1)


def results(result: Result) -> list[Dataset]:  # noqa: F811
    return [make(shipped("CT_small.dcm"), result) for make in KINDS.values()]


@pytest.mark.slow
def test_results_are_stored_and_stored_again_without_a_second_copy(orthanc: Orthanc, result: Result) -> None:  # noqa: F811
    pacs = Pacs(PacsSettings(url=orthanc.url))
    for _ in range(2):
        pacs.store(results(result))
    found = orthanc.instances()
    assert sorted(one["modality"] for one in found) == sorted(one.Modality for one in results(result))
    assert {one["uid"] for one in found} == {one.SOPInstanceUID for one in results(result)}


def test_what_is_listed_can_be_fetched_in_its_own_compression(orthanc: Orthanc) -> None:
    for name in ("CT_small.dcm", "JPEG2000.dcm"):
        orthanc.upload(Path(shipped(name).filename).read_bytes())
    pacs = Pacs(PacsSettings(url=orthanc.url))
    assert [series.n_instances for series in pacs.series(LONG_AGO, {})] == [1, 1]
    (scan,) = pacs.series(LONG_AGO, {"Modality": "NM"})
    assert scan.uid == shipped("JPEG2000.dcm").SeriesInstanceUID
    assert list(pacs.series(date(2200, 1, 1), {})) == []
    (one,) = pacs.instances(scan)
    assert one.sop_class == shipped("JPEG2000.dcm").SOPClassUID
    assert shipped("JPEG2000.dcm").PixelData in pacs.fetch(one)
    with pytest.raises(PacsError, match="does not give an instance out") as error:
        pacs.fetch(Listed(one.study, one.series, "1.2.3", one.sop_class))
    assert not isinstance(error.value, PacsDownError)
    assert "1.2.3" not in str(error.value)


def test_an_archive_is_searched_page_by_page(orthanc: Orthanc) -> None:
    for name in ("CT_small.dcm", "JPEG2000.dcm", "MR_small.dcm"):
        orthanc.upload(Path(shipped(name).filename).read_bytes())
    archive = Pacs(PacsSettings(url=orthanc.url), page=1)
    assert len({series.uid for series in archive.series(LONG_AGO, {})}) == 3


def test_the_root_and_the_credentials_are_checked(tmp_path: Path) -> None:
    secret, wrong = tmp_path / "password", tmp_path / "wrong"
    secret.write_text(f"{PASSWORD}\n")
    wrong.write_text("guess")
    with Orthanc(tmp_path / "orthanc", password=True) as orthanc:
        known: dict[str, Any] = {"user": USER, "password_file": secret}
        Pacs(PacsSettings(url=orthanc.url, **known)).check()
        for settings in ({}, {"user": USER, "password_file": wrong}, {"token_file": wrong}):
            with pytest.raises(PacsDownError, match="refuses the credentials"):
                Pacs(PacsSettings(url=orthanc.url, **settings)).check()
        for root in ("/dicomweb", "", "/app"):
            with pytest.raises(PacsError, match="is no root of a DICOMweb service") as error:
                Pacs(PacsSettings(url=f"http://127.0.0.1:{orthanc.port}{root}", **known)).check()
            assert not isinstance(error.value, PacsDownError)
        file = tmp_path / "pacs.toml"
        file.write_text(
            f'[[pacs]]\nurl = "http://127.0.0.1:{orthanc.port}/app"\nuser = "{USER}"\npassword_file = "password"'
        )
        with pytest.raises(PacsError, match="is no root"):
            check(PacsFile.read(file))
        file.write_text(f'[[pacs]]\nurl = "http://127.0.0.1:{free_port()}/dicom-web"')
        check(PacsFile.read(file))  # one that does not run may come later


def test_an_archive_that_says_stored_and_has_not_is_found_out(result: Result) -> None:  # noqa: F811
    with impostor(forgetful) as url, pytest.raises(PacsError, match="does not give a result back") as error:
        pacs = Pacs(PacsSettings(url=url))
        pacs.check()
        pacs.store(results(result))
    assert not isinstance(error.value, PacsDownError)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("behaviour", "error", "said"),
    [
        (silent, PacsDownError, "does not answer"),
        (dripping, PacsDownError, "takes longer than"),
        (endless, PacsError, "longer than 1,000,000 bytes"),
        (elsewhere, PacsError, "is no root of a DICOMweb service"),
        (page, PacsError, "is no root of a DICOMweb service"),
    ],
)
def test_what_is_no_sound_archive_is_told_in_one_line(
    behaviour: Callable, error: type, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if behaviour is dripping:
        monkeypatch.setattr("msde.serve.pacs.dicomweb._WHOLE_ANSWER", 0.5 / PATIENCE)
    with impostor(behaviour) as url, pytest.raises(error, match=said) as raised:
        # Short only where it has to run out, however busy the machine is.
        timeout = 0.1 if behaviour is silent else PATIENCE
        Pacs(PacsSettings(url=url, timeout=timeout, instance_megabytes=1)).check()
    assert "\n" not in str(raised.value)


def test_a_server_that_knows_no_offset_is_not_asked_for_ever() -> None:
    with impostor(repeating) as url:
        assert list(Pacs(PacsSettings(url=url)).series(LONG_AGO, {})) == [Series("1.2.3", "1.2.4", None)]


@pytest.mark.slow
@pytest.mark.parametrize(("n", "most"), [(300, 10**6), (200, 10**6), (199, 10**6), (300, 100)])
def test_a_server_that_ignores_the_offset_is_told_of(n: int, most: int, caplog: pytest.LogCaptureFixture) -> None:
    found = []
    with impostor(forgetting_offsets(n, most)) as url:
        pacs = Pacs(PacsSettings(url=url))
        for _ in range(2):
            if min(n, most) < 200:
                found = list(pacs.series(LONG_AGO, {}))
                continue
            found = []
            with pytest.raises(
                PacsError, match="ignores the offset of a search, so only the first 200 matches"
            ) as error:
                for one in pacs.series(LONG_AGO, {}):
                    found.append(one)
            assert not isinstance(error.value, PacsDownError)
    assert len(found) == min(n, most, 200)
    said = [record.getMessage() for record in caplog.records if "ignores the offset" in record.getMessage()]
    assert len(said) == (min(n, most) < 200)


@pytest.mark.slow
@pytest.mark.parametrize(("status", "reason"), [(409, 45070), (409, 0x0111), (409, 0x0110), (409, None), (202, 45070)])
def test_what_an_archive_says_it_has_is_read_back_and_counts(status: int, reason: int, result: Result) -> None:  # noqa: F811
    with impostor(having(status, reason)) as url:
        Pacs(PacsSettings(url=url)).store(results(result))
    with impostor(having(202, 0x0111)) as url:
        Pacs(PacsSettings(url=url)).store(results(result))


def blacken(dataset: Dataset) -> None:
    if "PixelData" in dataset:
        dataset.PixelData = bytes(len(dataset.PixelData))


@pytest.mark.parametrize("status", [409, 202])
def test_what_an_archive_has_and_is_something_else_does_not_count(status: int, result: Result) -> None:  # noqa: F811
    with impostor(having(status, 45070, blacken)) as url, pytest.raises(PacsError, match="keeps another PixelData"):
        Pacs(PacsSettings(url=url)).store(results(result))


def test_a_conflict_about_what_is_not_there_is_a_refusal(result: Result) -> None:  # noqa: F811
    def refusing(request) -> None:
        request.answer(409 if request.command == "POST" else 404)

    with impostor(refusing) as url, pytest.raises(PacsError, match=r"refuses a result \(status 409\)") as error:
        Pacs(PacsSettings(url=url)).store(results(result))
    assert not isinstance(error.value, PacsDownError)


def test_another_failure_reason_is_one(result: Result) -> None:  # noqa: F811
    with impostor(having(202, 0xA700)) as url, pytest.raises(PacsError, match="with failure reason A700"):
        Pacs(PacsSettings(url=url)).store(results(result))
