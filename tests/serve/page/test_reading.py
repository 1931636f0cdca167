"""The picture as a radiologist reads it: its size, the ways through it, what is measured, and who can read it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.images.medical import LPS, dicom_bytes, nifti_bytes
from tests.requirements import need

need("chromium")
from playwright.sync_api import expect  # noqa: E402

pytestmark = pytest.mark.slow
LAPTOP = {"width": 1280, "height": 720}
PHONE = {"width": 390, "height": 844}
SLICES = 12


def head(normals) -> bytes:
    """A volume of CT values in millimetres of 2 by 3."""
    slices = []
    for path in normals[:SLICES]:
        with Image.open(path) as image:
            slices.append(np.asarray(image.convert("L").resize((64, 48))).T.astype(np.int16) * 8 - 1000)
    return nifti_bytes(np.stack(slices, axis=2), LPS @ np.diag([2, 3, 8, 1]))


def scan(normals) -> tuple[np.ndarray, bytes]:
    with Image.open(normals[0]) as image:
        values = np.asarray(image.convert("L")).astype(np.uint16) * 8
    facts: dict[str, Any] = {"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -1024, "PixelSpacing": [0.5, 0.5]}
    return values.astype(float) - 1024, dicom_bytes(values, WindowCenter=40, WindowWidth=400, **facts)


def numbers(text: str) -> list[float]:
    return [float(found.replace(",", "")) for found in re.findall(r"-?\d[\d,.]*", text)]


def seen(page, selector: str) -> float:
    """How many pixels of an element's height are on the screen, none covered by what sticks to its top."""
    box = page.locator(selector).bounding_box()
    top = page.locator(".research").bounding_box()
    return min(page.viewport_size["height"], box["y"] + box["height"]) - max(top["y"] + top["height"], box["y"])


def drawn_at(page, pane: str) -> tuple[float, ...]:
    """Where the layers of a pane lie, in shares of the pane that the picture would fill."""
    found = page.locator(f"{pane} .layers").evaluate(
        """node => {
          const [box, pane] = [node.getBoundingClientRect(), node.parentElement.getBoundingClientRect()];
          const middle = [pane.left + pane.width / 2, pane.top + pane.height / 2];
          return [(middle[0] - box.left) / box.width, (middle[1] - box.top) / box.height, box.width, box.height];
        }"""
    )
    return tuple(found)


def test_a_volume_is_read_by_keyboard_alone(visit, running, normals):
    """On a laptop's screen, of which the picture has 480 pixels: slices, window, length, region, verdict."""
    number = running.upload("chest", "head.nii", head(normals))
    values, content = scan(normals)
    running.upload("chest", "scan.dcm", content)
    running.rows("chest")
    page = visit("chest").page
    page.set_viewport_size(LAPTOP)
    press = page.keyboard.press
    page.get_by_role("link", name="head.nii").focus()
    press("Enter")
    expect(page.locator("#case-name")).to_contain_text("head.nii")
    expect(page.locator("#slice")).to_be_visible()
    assert seen(page, "#stage") >= 480
    top = running.get(f"/api/images/{number}?model=chest")["top_parts"]
    slice_says = page.locator("#slice-says")
    expect(slice_says).to_have_text(f"{top[0]['part'] + 1} of {SLICES}")
    press("PageUp")
    press("PageUp")
    expect(slice_says).to_have_text(f"1 of {SLICES}")
    press("ArrowDown")
    press("ArrowDown")
    press("ArrowUp")
    expect(slice_says).to_have_text(f"2 of {SLICES}")
    expect(page.locator("#said")).to_have_text(f"2 of {SLICES}")
    press("h")
    expect(slice_says).to_have_text(f"{top[0]['part'] + 1} of {SLICES}")
    press("h")
    expect(slice_says).to_have_text(f"{top[1]['part'] + 1} of {SLICES}")
    expect(page.locator("#said")).to_contain_text("Number 2 of the hottest slices")
    expect(page.locator("#layers img").first).to_have_attribute("src", re.compile(f"part={top[1]['part']}&"))

    press("l")
    press("Enter")
    handle = page.locator(".measure.length .handle").nth(1)
    expect(handle).to_be_focused()
    expect(page.locator(".measure text")).to_contain_text(" mm")
    before = handle.evaluate("node => node.ariaLabel")
    for _ in range(8):
        press("ArrowRight")
    expect(handle).not_to_have_attribute("aria-label", before)
    expect(page.locator(".measure text")).to_contain_text(" mm")
    after = handle.evaluate("node => node.ariaLabel")
    assert numbers(after)[0] - numbers(before)[0] == pytest.approx(16, abs=0.2)  # 8 columns of 2 mm
    expect(slice_says).to_have_text(f"{top[1]['part'] + 1} of {SLICES}")  # the mark had the arrows
    press("Delete")
    expect(page.locator(".measure")).to_have_count(0)
    expect(page.locator("#stage")).to_be_focused()
    press("n")
    expect(page.locator("#latest")).to_contain_text("Normal by admin")

    press("j" if page.locator("#rows tr").first.get_attribute("aria-current") else "k")
    expect(page.locator("#case-name")).to_contain_text("scan.dcm")
    expect(page.locator("#window-says")).to_have_text("L 40 W 400 HU")
    assert seen(page, "#stage") >= 480
    lung = [option.split(" ", 1)[1] for option in page.locator("#preset option").all_inner_texts()].index("CT lung")
    press(str(lung))  # the first option is the reader's own window, which has no number
    expect(page.locator("#window-says")).to_have_text("L -600 W 1500 HU")
    expect(page.locator("#layers img").first).to_have_attribute("src", re.compile("low=-1350&high=150"))
    press("r")
    press("Enter")
    expect(page.locator(".measure.region text")).to_contain_text("HU")
    for key in ("Shift+ArrowUp", "Shift+ArrowRight"):
        press(key)
    expect(page.locator(".measure.region text")).to_contain_text("HU")
    label = page.locator(".measure.region .handle").nth(1).evaluate("node => node.ariaLabel")
    mean, _, pixels = (numbers(label)[at] for at in (0, 1, -1))
    assert values.min() < mean < values.max()
    assert 10 < pixels < values.size
    press("i")
    expect(page.locator("#layers img").first).to_have_attribute("alt", re.compile("inverted"))
    press("+")
    press("+")
    expect(page.locator("#zoom-says")).to_have_text(re.compile("1.6"))
    press("0")
    expect(page.locator("#zoom-says")).to_have_text("fits")
    expect(page.locator("#invert")).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#window-says")).to_have_text("L 40 W 400 HU")
    expect(page.locator(".measure")).to_have_count(0)


def test_wheel_pointer_and_the_nearest_normal_at_the_same_zoom(visit, running, normals):
    running.upload("chest", "head.nii", head(normals))
    values, content = scan(normals)
    number = running.upload("chest", "scan.dcm", content)
    running.rows("chest")
    page = visit("chest").page
    page.get_by_role("link", name="head.nii").click()
    expect(page.locator("#slice-says")).not_to_be_empty()
    expect(page.locator("#latest")).not_to_be_empty()
    page.keyboard.press("PageUp")
    page.keyboard.press("PageUp")
    expect(page.locator("#slice-says")).to_have_text(f"1 of {SLICES}")
    page.locator("#stage").hover()
    page.mouse.wheel(0, 100)
    page.mouse.wheel(0, 100)
    expect(page.locator("#slice-says")).to_have_text(f"3 of {SLICES}")
    page.keyboard.down("Control")
    page.mouse.wheel(0, -200)
    page.keyboard.up("Control")
    expect(page.locator("#zoom-says")).to_have_text(re.compile("1.6"))
    expect(page.locator("#slice-says")).to_have_text(f"3 of {SLICES}")
    width, height = drawn_at(page, "#stage")[2:]
    assert width / height == pytest.approx(64 * 2 / (48 * 3), rel=0.01)  # in millimetres, not in pixels

    page.get_by_role("link", name="scan.dcm").click()
    expect(page.locator("#case-name")).to_contain_text("scan.dcm")
    expect(page.locator("#zoom-says")).to_have_text("fits")
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.locator("#stage-beside img")).not_to_have_js_property("naturalWidth", 0)
    expect(page.locator("#normals .shot").first).to_have_attribute("aria-pressed", "true")
    page.locator("#stage").hover()
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 3, box["y"] + box["height"] / 3)
    page.mouse.wheel(0, -300)
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down(button="middle")
    page.mouse.move(box["x"] + box["width"] / 2 - 40, box["y"] + box["height"] / 2 - 20, steps=4)
    page.mouse.up(button="middle")
    here, beside = drawn_at(page, "#stage"), drawn_at(page, "#stage-beside")
    assert here[:2] == pytest.approx(beside[:2], abs=1e-3)
    assert here[:2] != pytest.approx((0.5, 0.5), abs=0.02)
    assert here[2] == pytest.approx(beside[2], rel=0.01)
    page.locator("#normals .shot").nth(1).click()
    expect(page.locator("#beside-says")).to_have_text(page.locator("#normals img").nth(1).get_attribute("alt"))
    page.keyboard.press("c")
    expect(page.locator("#stage-beside")).to_be_hidden()

    page.keyboard.press("0")
    page.get_by_role("button", name="Region").click()
    box = page.locator("#stage").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(middle[0] - 60, middle[1] - 50)
    page.mouse.down()
    page.mouse.move(middle[0] + 60, middle[1] + 50, steps=3)
    page.mouse.up()
    scale = drawn_at(page, "#stage")[2] / values.shape[1]
    y, x = np.mgrid[: values.shape[0], : values.shape[1]] + 0.5
    rows, columns = values.shape
    within = ((x - columns / 2) / (60 / scale)) ** 2 + ((y - rows / 2) / (50 / scale)) ** 2 <= 1
    expect(page.locator(".measure text")).to_contain_text("HU")
    mean, deviation = numbers(page.locator(".measure text").text_content())[:2]
    assert mean == pytest.approx(values[within].mean(), abs=12)
    assert deviation == pytest.approx(values[within].std(), rel=0.1)
    page.get_by_role("link", name="head.nii").click()
    expect(page.locator(".measure")).to_have_count(0)
    assert number


def test_whether_a_place_stands_out_is_said(visit, running, normals, abnormals):
    running.fill("chest", [*normals[:1], *abnormals[:1]])
    page = visit("chest").page
    expect(page.locator("#place-says")).to_have_text(re.compile("^(Colour on|Most of the picture)"))
    expect(page.locator("#colour-bar")).to_be_visible()
    page.keyboard.press("j")
    expect(page.locator("#place")).to_have_text("2 of 2")
    expect(page.locator("#place-says")).to_have_text("No single place stands out.")
    names = [node["name"]["value"] for node in tree(page) if node["role"]["value"] in ("heading", "rowheader")]
    flagged = running.rows("chest")[0]
    page.keyboard.press("k")
    expect(page.locator("#case-name bdi")).to_have_text(flagged["name"])
    names = [node["name"]["value"] for node in tree(page) if node["role"]["value"] in ("heading", "rowheader")]
    assert f"{flagged['name']} flagged" in names  # two words, as they are heard
    assert not [name for name in names if re.search(r"\.pngflagged", name)]


def tree(page):
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    return [node for node in nodes if not node["ignored"]]


def test_on_a_phone_the_heading_stays(visit, running, normals):
    running.upload("chest", "head.nii", head(normals))
    running.rows("chest")
    page = visit("chest", has_touch=True).page
    page.set_viewport_size(PHONE)
    expect(page.locator("#slice")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.locator("#stage").bounding_box()["y"] < PHONE["height"] / 2
    page.locator("#slice").focus()
    page.keyboard.press("End")
    expect(page.locator("#slice-says")).to_have_text(f"{SLICES} of {SLICES}")
    page.locator("#stage").hover()
    page.mouse.wheel(0, 100)
    page.wait_for_function("() => scrollY > 0")  # beyond the last slice the wheel scrolls the page
    page.locator("#enlarge").scroll_into_view_if_needed()
    page.evaluate("window.scrollTo(0, document.querySelector('#stage').getBoundingClientRect().bottom + scrollY - 150)")
    heading, notice = (page.locator(selector).bounding_box() for selector in (".title", ".research"))
    assert notice["y"] == 0
    assert abs(heading["y"] - notice["height"]) < 8
    assert page.locator("#stage").bounding_box()["y"] < 0


def test_axe_finds_no_fault(visit, running, normals, abnormals):
    """In light and dark, with all that can be opened, at 200 % of a laptop's screen, on a phone, image and volume."""
    need("axe")
    from axe_playwright_python.sync_playwright import Axe

    running.upload("chest", "head.nii", head(normals))
    running.fill("chest", [*normals[:1], *abnormals[:1]])
    page = visit("chest").page
    axe = Axe()

    def check(where: str) -> None:
        found = axe.run(page).response["violations"]
        bad = [(fault["impact"], fault["id"], [node["html"][:120] for node in fault["nodes"]]) for fault in found]
        assert bad == [], where

    expect(page.locator("#normals img")).to_have_count(3)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        check(scheme)
    page.get_by_role("link", name="head.nii").click()
    expect(page.locator("#slice")).to_be_visible()
    page.keyboard.press("c")
    page.keyboard.press("l")
    page.keyboard.press("Enter")
    expect(page.locator(".measure text")).to_contain_text("mm")
    for panel in ("#threshold", "#about-model", "#learning", "#past"):
        page.click(f"{panel} summary")
    check("a volume, with all panels open")
    page.set_viewport_size({"width": LAPTOP["width"] // 2, "height": LAPTOP["height"] // 2})
    assert page.evaluate("document.documentElement.scrollWidth") <= LAPTOP["width"] // 2
    check("200 %")
    page.set_viewport_size(PHONE)
    check("phone")
    page.keyboard.press("?")
    expect(page.locator("#settings")).to_be_visible()
    check("keys and settings")
    page.goto(f"{running.url}numbers.html")
    expect(page.locator("#figures strong").first).not_to_be_empty()
    check("numbers")
