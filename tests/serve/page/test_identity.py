"""Whose an image is: studies of a real archive, read by name and, where names are off, by pseudonyms."""

from __future__ import annotations

import re
import time

import pytest
from tests.patience import wait_until
from tests.requirements import need
from tests.serve.pacs.orthanc import Orthanc
from tests.serve.process import Process
from tests.serve.test_identifiers import SECRETS, stated

from .conftest import LABELLED

need("chromium")
from playwright.sync_api import expect  # noqa: E402

pytestmark = pytest.mark.slow
OTHER = {"PatientName": "Muster^Max", "PatientID": "PID-5", "AccessionNumber": "ACC-1", "StudyInstanceUID": "1.2.3.7"}


@pytest.fixture
def orthanc(tmp_path):
    """An archive with two studies of a patient and one of another."""
    with Orthanc(tmp_path / "orthanc") as archive:
        for seed, given in enumerate(({}, {"StudyInstanceUID": "1.2.3.9"}, OTHER), 1):
            today = time.strftime("%Y%m%d")
            archive.upload(stated(seed, StudyDate=today, SeriesInstanceUID=f"1.2.3.4.{seed}", **given))
        yield archive


@pytest.fixture
def service(orthanc, labelled_model, tmp_path):
    """Give what starts the service over that archive, at one data folder."""
    model, pacs = tmp_path / f"{LABELLED}.msde", tmp_path / "pacs.toml"
    labelled_model.save(model)
    pacs.write_text(f'[[pacs]]\nurl = "{orthanc.url}"\npoll_seconds = 0.3\nresults = false\n')
    viewer = f"{orthanc.url}/studies/{{study}}/series"
    return lambda *options: Process(model, tmp_path / "data", "--pacs", str(pacs), "--viewer-url", viewer, *options)


def open_page(visit, process):
    return visit(LABELLED, process.headers["Authorization"].removeprefix("Bearer "), f"{process.url}/").page


def titles(page) -> list[str]:
    return sorted(page.locator("#rows .name a").all_inner_texts())


def open_in_viewer(page) -> str:
    """Follow the link to the archive's viewer; give the study that it shows."""
    with page.expect_popup() as popup:
        page.get_by_role("link", name="Open in PACS viewer").click()
    popup.value.wait_for_load_state()
    assert "0020000D" in popup.value.content()  # the archive knows the study
    found = re.search(r"/studies/([\d.]+)/", popup.value.url)
    popup.value.close()
    return found[1] if found else ""


def test_patients_have_names_where_that_is_asked_for_and_pseudonyms_else(service, visit, tmp_path):
    with service("--identifiers") as process:
        wait_until(lambda: len(process.rows()) == 3, "the archive's images")
        page, asked = open_page(visit, process), []
        page.on("request", lambda request: asked.append(request.url))
        expect(page.locator("#rows tr")).to_have_count(3)
        assert titles(page) == ["Muster, Max", *["Mustermann, Erika Dr."] * 2]
        page.get_by_role("searchbox", name="Search").fill("erika pid-47")
        expect(page.locator("#total")).to_have_text("2 match")
        for text in ("PID-4711", "female", "born 1957", "Thorax p.a.", "accession ACC-99", "DX-2"):
            expect(page.locator("#case-who")).to_contain_text(text)
        page.get_by_role("combobox", name="Group by").select_option("patient")
        expect(page.locator("#total")).to_have_text("1 patient match")
        expect(page.locator("#rows")).to_contain_text("2 images")
        expect(page.locator("#rows")).to_contain_text("Of the 2 images known to be of the patient: ")
        expect(page.locator("#rows")).to_contain_text("2 unread")
        study = open_in_viewer(page)
        before = page.url
        page.get_by_role("group", name="Other studies of the patient").get_by_role("button").click()
        expect(page.locator("#case-who")).to_contain_text("PID-4711")
        page.wait_for_url(lambda address: address != before)
        assert {study, open_in_viewer(page)} == {"1.2.3.4", "1.2.3.9"}
        page.get_by_role("button", name="Take this study", exact=True).click()
        expect(page.locator("#case-who")).to_contain_text("Yours.")
        page.locator("#more summary").click()
        page.get_by_label("Station").check()
        page.get_by_label("Reader", exact=True).last.check()
        page.get_by_role("searchbox", name="Search").fill("")
        expect(page.locator("#total")).to_have_text("2 patients")
        page.get_by_role("combobox", name="Reader").select_option("me")
        expect(page.locator("#total")).to_have_text("1 patient match")
        page.reload()  # the address and the service have kept what was chosen
        expect(page.locator("#total")).to_have_text("1 patient match")
        expect(page.locator("#rows .station")).to_have_text("DX-2")
        expect(page.locator("#rows .assigned")).to_have_text("admin")
        expect(page.locator("#names-say")).to_contain_text("on record")
        assert not any(secret.decode() in address for secret in (*SECRETS, b"erika") for address in (page.url, *asked))
        page.close()
        process.stop()

    with service() as process:
        page = open_page(visit, process)
        page.get_by_role("combobox", name="Group by").select_option("")
        expect(page.locator("#rows tr")).to_have_count(3)
        assert all(re.fullmatch(r"Study [0-9a-f]{4}-[0-9a-f]{4}", title) for title in titles(page))
        expect(page.locator("#case-who")).to_contain_text(re.compile("patient [0-9a-f]{4}-[0-9a-f]{4}"))
        expect(page.locator("#names-say")).to_contain_text("without --identifiers")
        page.get_by_role("searchbox", name="Name").fill("mustermann")
        expect(page.locator("#nothing")).to_contain_text("No image matches")
        page.get_by_role("searchbox", name="Name").fill("1.2.3.9")
        expect(page.locator("#rows tr")).to_have_count(1)
        assert open_in_viewer(page) == "1.2.3.9"
        assert not any(secret.decode() in page.content() for secret in SECRETS)
        page.close()
        process.stop()
    log = process.log.read_bytes()
    assert not any(secret in log for secret in SECRETS)
