"""From three verdicts to a new version and back, as an admin does it on the page."""

from __future__ import annotations

import json

import pytest
from tests.contrast import CONTRAST
from tests.requirements import need

from .conftest import READER_TOKEN

need("chromium")
from playwright.sync_api import expect  # noqa: E402

pytestmark = pytest.mark.slow


def judge(page, name, verdict):
    page.get_by_role("link", name=name).click()
    expect(page.locator("#case-name bdi")).to_have_text(name)
    expect(page.locator("#latest")).to_contain_text("No verdict yet")  # no key counts before all is known of the image
    page.keyboard.press(verdict[0])
    expect(page.locator("#latest")).to_contain_text(f"{verdict.capitalize()} by admin")


def test_three_verdicts_become_a_version_and_the_one_before_comes_back(visit, running, normals, abnormals):
    names = {"normal": "00-normal.png", "abnormal": "01-abnormal.png", "other": "02-abnormal.png"}
    for name, image in zip(names.values(), (normals[70], abnormals[40], abnormals[41]), strict=True):
        running.upload("learning", name, running.fresh(image))
    running.rows("learning")
    page = visit("learning").page
    page.click("#learning summary")
    expect(page.locator("#learning-says")).to_contain_text("At least two images called abnormal, of different patients")
    expect(page.locator("#learning-start")).to_be_disabled()
    judge(page, names["normal"], "normal")
    judge(page, names["abnormal"], "abnormal")
    expect(page.locator("#learning-start")).to_be_disabled()
    judge(page, names["other"], "abnormal")
    expect(page.locator("#learning-says")).to_contain_text("Readers call 1 image normal and 2 abnormal")

    page.click("#learning-start")
    expect(page.locator("#confirm")).to_contain_text("not used before you make it current")
    page.keyboard.press("Escape")
    assert running.get("/api/models/learning/learn")["proposal"] is None
    page.click("#learning-start")
    page.get_by_role("button", name="Learn", exact=True).click()
    expect(page.locator("#proposal-title")).to_have_text("Version 2: proposed, not in use")
    expect(page.locator("#proposal-how")).to_contain_text("2 abnormal images and 1 normal image of 3 patients")
    expect(page.locator("#proposal-figures tr")).to_have_count(3)
    assert page.locator("#proposal-roc svg").get_attribute("aria-label").startswith("ROC curves; AUROC ")
    expect(page.locator("#proposal-notes")).to_contain_text("1 normal and 2 abnormal images are few")
    expect(page.locator("#version")).to_have_text("version 1")

    page.get_by_role("button", name="Make version 2 current").click()
    expect(page.locator("#confirm")).to_contain_text("Version 1 is kept")
    page.get_by_role("button", name="Make current", exact=True).click()
    expect(page.locator("#version")).to_have_text("version 2")
    expect(page.locator("#proposal-title")).to_have_text("Version 2: in use")
    page.click("#proposal-rescore")
    running.rows("learning")
    page.get_by_role("link", name=names["normal"]).click()
    expect(page.locator("#case-notes")).to_contain_text("The model has learnt from it")

    page.get_by_role("button", name="Use version 1 again").click()
    expect(page.locator("#version")).to_have_text("version 1")
    expect(page.locator("#proposal-title")).to_have_text("Version 2: proposed, not in use")
    expect(page.get_by_role("button", name="Make version 2 current")).to_be_visible()
    rows = running.get("/api/audit?limit=500")["rows"]
    steps = [row["action"] for row in reversed(rows) if row["detail"].get("model") == "learning"]
    assert [step for step in steps if step in ("learn", "learnt", "version", "rescore")] == [
        *("learn", "learnt", "version", "rescore", "version"),
    ]


def test_a_reader_has_no_part_in_it(visit, running, normals):
    running.fill("learning", normals[71:72])
    expect(visit("learning", READER_TOKEN).page.locator("#learning")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_proposal_is_legible_and_needs_no_sideways_scrolling(visit, running, normals, scheme):
    running.fill("learning", normals[72:73])
    page = visit("learning", color_scheme=scheme).page
    figures = {"auroc": 0.75, "auroc_ci": [0.5, 1.0], "flags_per_1000": 41.0, "flags_per_1000_ci": [10.0, 160.0]}
    arm = {**figures, "sensitivity": 0.5, "sensitivity_ci": [0.2, 0.8], "roc": [[0, 0], [0.2, 0.7], [1, 1]]}
    row = running.rows("learning")[0]
    number = row["id"]
    change = {"image": number, "abnormal": True, "now_flagged": True, "old_p_value": 0.2, "new_p_value": 0.01}
    comparison = {
        "n_normal": 40,
        "n_abnormal": 12,
        "n_patients": 50,
        "alpha": 0.05,
        "old": arm,
        "new": arm,
        "unsure": 2,
        "difference": -0.1,
        "difference_ci": [-0.2, -0.01],
        "notes": ["a note " * 40],
        "contradicted": [],
        "changed": [{**change, "name": name} for name in ("x" * 60 + ".png", row["name"])],
    }
    proposal = {
        "state": "ready",
        "progress": 1,
        "before": 7,
        "version": 8,
        "made_by": "admin",
        "error": None,
        "at": "2026-01-01T00:00:00Z",
        "comparison": comparison,
    }
    known = {"confirmed_normals": 40, "confirmed_abnormals": 12, "lacks": None, "proposal": proposal}
    body = json.dumps({**known, "contradicted": [{"image": number, "name": "two-minds.png"}]})
    page.route("**/api/models/learning/learn", lambda route: route.fulfill(body=body, content_type="application/json"))
    page.set_viewport_size({"width": 360, "height": 740})
    page.click("#learning summary")
    expect(page.locator("#proposal-difference")).to_contain_text("The new version is worse.")
    expect(page.locator("#proposal-how")).to_contain_text("compares with version 7, which is not in use")
    expect(page.locator("#learning-says")).to_contain_text("readers contradict each other: two-minds.png")
    expect(page.locator("#proposal-changed")).to_contain_text("(abnormal): flagged now, rightly")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    ratio, node = page.evaluate(CONTRAST)
    assert ratio >= 4.5, node
    page.locator("#proposal-changed a").last.click()
    expect(page.locator("#case-name bdi")).to_have_text(row["name"])
    expect(page.locator("#case-name")).to_be_in_viewport()
