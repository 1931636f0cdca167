"""The numbers for the head of department, as they are seen."""

from __future__ import annotations

import pytest
from tests.requirements import need

need("chromium")
from playwright.sync_api import expect  # noqa: E402

pytestmark = pytest.mark.slow


def test_the_numbers_are_a_click_from_the_worklist_and_fit_a_phone(visit, running, normals):
    running.fill("chest", normals[:3])
    page = visit("chest").page

    def drifting(route):
        answer = route.fetch()
        found = answer.json()
        (one, *_) = found["scanners"]
        weeks = [{**one, "week": week["week"], "found": True, "higher": True} for week in found["weeks"]]
        route.fulfill(response=answer, json={**found, "scanners": [one, *weeks]})

    page.route("**/numbers?*", drifting)
    page.get_by_role("link", name="Numbers").click()
    expect(page.locator("#figures dt").first).to_have_text("Images")
    expect(page.locator("#flags-says")).to_contain_text("95 % interval")
    images = running.get("/api/models/chest/numbers?weeks=26")["total"]["images"]
    expect(page.locator("#figures strong").first).to_have_text(f"{images:,}")
    for section in ("flags", "scores"):
        assert page.locator(f"#{section} circle").count() == 1
    expect(page.locator("#scanners tbody tr")).to_have_count(1)
    expect(page.locator("#readers-says")).to_have_text("No image was read by two readers.")
    expect(page.locator("#scanners td.drifts").first).to_contain_text("▲")
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.select_option("#weeks", "4")
    page.wait_for_function("location.hash.includes('weeks=4')")
    with page.expect_download() as exported:
        page.get_by_role("link", name="scanners").click()
    assert exported.value.suggested_filename == "scanners.csv"
    page.get_by_role("link", name="Worklist").click()
    expect(page.locator("#rows tr").first).to_be_visible()
