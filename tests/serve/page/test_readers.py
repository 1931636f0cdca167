"""Two readers at once, each at a page of their own: what one says the other sees, and is asked about."""

from __future__ import annotations

import json
import re

import pytest
from tests.requirements import need
from tests.serve.process import CLIENT

from .conftest import READER_TOKEN
from .shown import drawn, loaded

need("chromium")
from playwright.sync_api import expect  # noqa: E402

pytestmark = pytest.mark.slow


def judge(running, image, word):
    """Give a verdict as anna's other page does."""
    address = f"{running.url}api/images/{image}/verdicts?model=chest"
    answer = CLIENT.post(address, json={"verdict": word}, headers={"Authorization": f"Bearer {READER_TOKEN}"})
    assert answer.status_code == 201, answer.text


def test_news_leaves_the_lines_that_have_not_changed(visit, running, normals):
    """Whoever presses the button on one while news comes has not missed it."""
    rows = running.fill("chest", normals[:4])
    page = visit("chest").page
    drawn(page)
    expect(page.locator("#live")).to_have_text("live")
    page.evaluate("document.querySelectorAll('#rows tr, #rows img').forEach((one, at) => { one.mark = at; })")
    marks = "selector => [...document.querySelectorAll(selector)].map(({ mark }) => mark ?? null)"
    lines, pictures = (page.evaluate(marks, f"#rows {tag}") for tag in ("tr", "img"))

    judge(running, rows[1]["id"], "normal")
    expect(page.locator("#rows tr").nth(1).locator(".verdict")).to_have_text("Normal")
    assert page.evaluate(marks, "#rows tr") == [lines[0], None, *lines[2:]]
    assert page.evaluate(marks, "#rows img") == pictures

    running.ask("DELETE", f"/api/images/{rows[2]['id']}")
    expect(page.locator("#rows tr")).to_have_count(3)
    assert page.evaluate(marks, "#rows tr") == [lines[0], None, lines[3]]
    assert page.locator("#rows tr").first.get_attribute("aria-current") == "true"


def test_two_readers_at_once(visit, running, abnormals, normals):
    rows = running.fill("chest", abnormals[:2] + normals[:2])
    anna, root = visit("chest", READER_TOKEN).page, visit("chest").page
    for page in (anna, root):
        loaded(page)
        expect(page.locator("#live")).to_have_text("live")

    # What one says the other sees at once, and a new image is there without a reload.
    anna.keyboard.press("n")
    expect(root.locator("#latest")).to_contain_text("Normal by anna")
    expect(root.locator("#said")).to_contain_text("Normal by anna, just now.")
    expect(root.locator("#rows tr[aria-current] .verdict")).to_have_text("Normal")
    expect(root.locator("#judge [aria-pressed=true]")).to_have_count(0)
    running.fill("chest", normals[2:3])
    expect(root.locator("#rows tr")).to_have_count(len(rows) + 1)
    expect(root.locator("#rows tr", has_text="Waiting to be scored")).to_have_count(0)

    # Both verdicts side by side, and what they come to; who is of another mind contradicts.
    root.keyboard.press("a")
    for page in (anna, root):
        expect(page.locator("#latest .readers li")).to_have_count(2)
        expect(page.locator("#latest")).to_contain_text("Disputed")
        expect(page.locator("#rows tr[aria-current] .verdict")).to_have_text("Disputed by 2")
    expect(anna.locator("#tally")).to_contain_text("no normal is confirmed yet")
    anna.locator("#agreement summary").click()
    expect(anna.locator("#pairs tr")).to_contain_text("admin and anna")
    expect(anna.locator("#pairs tr")).to_contain_text("0.00 (0.00 to 0.00)")
    expect(anna.locator("#disputed-says")).to_contain_text("1 image disputed")
    root.get_by_role("button", name="Take back").click()
    expect(anna.locator("#latest .readers li")).to_have_count(1)
    expect(anna.locator("#rows tr[aria-current] .verdict")).to_have_text("Normal")
    root.locator("#past summary").click()
    expect(root.locator("#verdicts li").first).to_contain_text("Withdrawn by admin")

    # Nothing that a page is told names anybody, or anything.
    heard = root.evaluate(
        """() => new Promise((resolve) => {
          const source = new EventSource("api/events");
          source.addEventListener("begin", () => fetch("api/session").then(() => resolve(source)));
        }).then((source) => new Promise((resolve) => {
          source.addEventListener("change", ({ data }) => { source.close(); resolve(data); });
          document.querySelector("#judge [value=unsure]").click();
        }))"""
    )
    assert json.loads(heard) == {"kinds": ["verdicts"], "images": [rows[0]["id"]]}


def test_a_verdict_on_what_has_changed_unseen_asks_first_and_keys_go_on(visit, running, abnormals, normals):
    rows = running.fill("chest", abnormals[:2] + normals[:2])
    reader = visit("chest")
    reader.allowed += ("ERR_FAILED", "status of 409")
    page = reader.page
    page.route("**/api/events", lambda route: route.abort())
    page.reload()
    loaded(page)
    expect(page.locator("#live")).to_have_text(re.compile("not live"))
    judge(running, rows[0]["id"], "abnormal")
    page.keyboard.press("n")
    dialog = page.locator("#confirm")
    expect(dialog).to_contain_text("since you looked anna has called it abnormal")
    expect(page.locator("#latest")).to_contain_text("Abnormal by anna")
    dialog.get_by_role("button", name="Cancel").click()
    assert len(running.get(f"/api/images/{rows[0]['id']}?model=chest")["verdicts"]) == 1
    page.keyboard.press("n")  # now it was seen
    expect(page.locator("#latest")).to_contain_text("Normal by admin")

    page.keyboard.press("x")
    expect(page.locator("#case-name bdi")).to_have_text(rows[1]["name"])
    page.keyboard.press("?")
    page.get_by_label("After a verdict, go on").check()
    page.keyboard.press("Escape")
    for row in rows[2:]:
        loaded(page)
        page.keyboard.press("u")
        expect(page.locator("#case-name bdi")).to_have_text(row["name"])
    loaded(page)
    page.keyboard.press("u")
    expect(page.locator("#said")).to_have_text("No image of this list is without a verdict.")
    assert running.get("/api/images?model=chest&verdict=none")["total"] == 0
