"""The page at work, in a real browser without a network."""

import subprocess

import numpy as np
import pytest
from PIL import Image
from tests.contrast import CONTRAST
from tests.patience import wait_until

from msde import AnomalyModel
from msde.images import find_images
from msde.model.nearest_labelled import NearestLabelled
from msde.model.nearest_normals import NearestNormals
from msde.report import make_worklist, write_report

from .browser import Browser, chromium

pytestmark = pytest.mark.slow


@pytest.fixture
def browser(tmp_path):
    with Browser(tmp_path / "profile") as opened:
        yield opened


@pytest.fixture
def report(explained, explaining, tmp_path):
    write_report(explained, explaining, tmp_path / "report.html")
    return tmp_path / "report.html"


def chosen(browser):
    return browser.run("document.querySelector('tr[aria-current]').id")


def shown(browser):
    """Which of the two pictures of the selected case are seen, here and in the list."""
    return browser.run(
        "['.picture img', '#case-1 img'].map(where => [...document.querySelectorAll(where)]"
        ".filter(img => img.checkVisibility()).map(img => img.classList[0]).join())"
    )


def test_keys_move_and_toggle(browser, report):
    browser.open(report)
    assert chosen(browser) == "case-1"
    browser.press("j")
    browser.press("j")
    browser.press("k")
    assert chosen(browser) == "case-2"
    assert browser.run("document.activeElement.getAttribute('href')") == "#case-2"
    browser.press("k")
    browser.press("k")
    assert chosen(browser) == "case-1"
    assert shown(browser) == ["overlay", "overlay"]
    scrolled = browser.run("scrollY")
    browser.press(" ")
    assert shown(browser) == ["plain", "plain"]
    assert browser.run("document.getElementById('overlays').checked") is False
    assert browser.run("scrollY") == scrolled
    assert browser.complaints() == []


def test_the_viewer_shows_the_nearest_labelled_image_first_where_likeness_to_it_spoke(
    browser, network, discs, incoming, tmp_path
):
    abnormal = find_images([discs / "abnormal"])
    kinds = {str(discs / "abnormal"): "<i>spot"}
    model = AnomalyModel(network).fit(discs / "train", abnormal=abnormal, kinds=kinds, heatmaps=False)
    normals, labelled = (
        NearestNormals.embed(model, find_images([discs / "train"])),
        NearestLabelled.embed(model, abnormal),
    )
    worklist = make_worklist(model, find_images([incoming]), normals, labelled=labelled)
    write_report(worklist, model, tmp_path / "r.html")
    browser.open(tmp_path / "r.html")
    top = "document.querySelector('#viewer {} figure').getBoundingClientRect().top"
    said = []
    for number, case in enumerate(worklist.cases, 1):
        browser.run(f"document.querySelector('#case-{number} .often').click()")
        figures = "[...document.querySelectorAll('.labelled figure')].filter(f => f.checkVisibility()).map(f => f.id)"
        numbers = case.pictures[0].labelled if case.pictures else ()
        assert browser.run(figures) == [f"labelled-{n}" for n in numbers]
        if numbers:
            assert browser.run("document.querySelector('#viewer .labelled figcaption').textContent").startswith(
                "<i>spot"
            )
            spoke = bool(case.score.flagged and str(case.score.evidence).startswith("like"))
            assert browser.run(f"{top.format('.labelled')} < {top.format('.alike')}") == spoke
            said.append(spoke)
    assert set(said) == {True, False}
    assert browser.complaints() == []


def test_the_viewer_shows_the_selected_case_and_the_normals_most_like_it(browser, report, explained):
    browser.open(report)
    for number in range(1, len(explained.cases) + 1):
        browser.run(f"document.querySelector('#case-{number} .often').click()")
        name = browser.run(f"document.querySelector('#case-{number} .name').textContent")
        assert browser.run("document.querySelector('#viewer h2').textContent") == name
        alike = explained.cases[number - 1].pictures[0].alike if explained.cases[number - 1].pictures else ()
        figures = "[...document.querySelectorAll('.alike figure')].filter(f => f.checkVisibility()).map(f => f.id)"
        assert browser.run(figures) == [f"normal-{n}" for n in alike]
    eager = "const images = [...document.images]; for (const image of images) image.loading = 'eager'"
    browser.run(eager)
    drawn = "Promise.all(images.map(image => image.decode())).then(() => images.length)"
    assert browser.run(drawn) == 7 * 2 + browser.run("document.querySelectorAll('#viewer img').length")
    assert browser.complaints() == []


def test_flagged_only_leaves_the_flagged(browser, report, explained):
    browser.open(report)
    browser.run("document.getElementById('flagged-only').click()")
    seen = browser.run("[...document.querySelectorAll('tbody tr')].filter(r => r.checkVisibility()).length")
    assert seen == sum(bool(case.score.flagged) for case in explained.cases)
    for _ in explained.cases:
        browser.press("j")
    assert chosen(browser) == f"case-{seen}"


def test_a_hostile_name_runs_nothing(browser, report):
    browser.open(report)
    for _ in range(8):
        browser.press("j")
    assert browser.run("document.querySelectorAll('img[onerror], script:not([src])').length") == 1  # the page's own
    assert browser.complaints() == []


def test_the_policy_keeps_foreign_scripts_out(browser, report):
    text = report.read_text(encoding="utf-8")
    report.write_text(text.replace("</table>", "</table><script>document.title = 'taken'</script>"), encoding="utf-8")
    browser.open(report)
    assert browser.run("document.title") == "Worklist of 8 images"
    assert any("Content Security Policy" in line for line in browser.complaints())


def test_slices_of_a_volume_take_turns(browser, model, stack, tmp_path):
    write_report(make_worklist(model, find_images([stack])), model, tmp_path / "report.html")
    browser.open(tmp_path / "report.html")
    first = browser.run("document.querySelector('.picture img').src")
    browser.run("document.querySelectorAll('.strip button')[2].click()")
    assert browser.run("document.querySelector('.picture img').src") != first
    pressed = "[...document.querySelectorAll('.strip button')].map(b => b.getAttribute('aria-pressed'))"
    assert browser.run(pressed) == ["false", "false", "true", "false", "false"]
    assert not browser.run("document.getElementById('overlays').checkVisibility()")
    assert browser.complaints() == []


def test_light_and_dark_have_contrast(browser, report):
    for scheme in ("light", "dark"):
        browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        browser.open(report)
        contrast, where = browser.run(f"({CONTRAST})()")
        assert contrast >= 4.5, (scheme, where)


def test_assistive_technology_sees_a_table(browser, report, explained):
    browser.open(report)

    def seen() -> list[str] | None:
        nodes = browser.send("Accessibility.getFullAXTree")["nodes"]
        roles = [node["role"]["value"] for node in nodes if not node["ignored"]]
        return roles if roles.count("row") > len(explained.cases) else None

    roles = wait_until(seen, "the rows of the table, which the browser makes after the page")
    assert roles.count("table") == 1
    assert roles.count("row") == 1 + len(explained.cases)
    assert roles.count("rowheader") == len(explained.cases)
    assert roles.count("columnheader") == 5


def test_the_print_has_the_mark_of_research_use_and_both_pictures(browser, report, tmp_path):
    browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    browser.open(report)
    browser.pdf(tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    browser.send("Emulation.setEmulatedMedia", media="print")
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.run("document.querySelector('.research').checkVisibility()")
    assert not browser.run("document.querySelector('.controls').checkVisibility()")
    assert shown(browser) == ["plain,overlay", "plain,overlay"]


def test_the_page_reads_without_its_script(browser, report):
    browser.send("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(report)
    browser.send("Emulation.setScriptExecutionDisabled", value=False)
    assert not browser.run("document.getElementById('viewer').checkVisibility()")
    assert browser.run("document.querySelectorAll('#case-1 img')[1].checkVisibility()")


def test_a_thousand_images_open(browser, model, incoming, train, tmp_path):
    """Every case of a small worklist many times over: the page's own work does not depend on what is seen."""
    worklist = make_worklist(model, find_images([incoming]), NearestNormals.embed(model, find_images([train])))
    worklist.cases[:] = worklist.cases[:7] * 143
    write_report(worklist, model, tmp_path / "report.html")
    browser.open(tmp_path / "report.html")
    assert browser.run("document.querySelectorAll('tbody tr').length") == 1001
    for _ in range(3):
        browser.press("j")
    browser.run("document.querySelector('#case-900').click()")
    browser.screenshot(tmp_path / "seen.png")
    with Image.open(tmp_path / "seen.png") as seen:
        assert seen.width >= 1000
        colours = np.unique(np.asarray(seen.convert("RGB")).reshape(-1, 3), axis=0)
    assert len(colours) > 100
    box = browser.run("document.querySelector('#case-900').getBoundingClientRect().toJSON()")
    assert 0 <= box["top"] < browser.run("innerHeight")
    assert browser.complaints() == []


def test_the_command_line_of_the_browser_opens_it_too(report, tmp_path):
    done = subprocess.run(
        [chromium(), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'other'}"]
        + ["--dump-dom", report.as_uri()],
        capture_output=True,
        text=True,
    )
    assert 'id="case-8"' in done.stdout
    assert 'class="js overlays"' in done.stdout
