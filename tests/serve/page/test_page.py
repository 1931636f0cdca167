"""The page as a reader uses it: a real service, a real browser."""

from __future__ import annotations

import csv
import json
import re
from datetime import timedelta
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from tests.contrast import CONTRAST
from tests.images.medical import dicom_bytes
from tests.patience import wait_until
from tests.pictures import disc
from tests.requirements import need
from tests.serve.proxy import Proxy

from msde.serve.erasure import purge
from msde.serve.storage.database import Database
from msde.serve.storage.store import Store

from .conftest import LABELLED, READER_TOKEN
from .shown import drawn, loaded

need("chromium")
from playwright.sync_api import expect  # noqa: E402

pytestmark = pytest.mark.slow


def chosen(page):
    return page.locator("#rows tr[aria-current] .name a").inner_text()


def names(page):
    return page.locator("#rows .name a").all_inner_texts()


def test_a_reader_signs_in_reads_and_exports(visit, running, abnormals, normals, tmp_path):
    rows = running.fill("chest", abnormals[:3] + normals[:3])
    with_mark = visit("chest", "wrong")
    page = with_mark.page
    expect(page.locator("#sign-in-trouble")).to_contain_text("token is not known")
    page.fill("#token", READER_TOKEN)
    page.keyboard.press("Enter")
    expect(page.locator("#user")).to_have_text("anna (reader)")
    expect(page.locator(".research")).to_contain_text("For research use only. Not a medical device.")
    expect(page.locator("#recalibrate")).to_be_hidden()
    expect(page.locator("#rows tr")).to_have_count(len(rows))
    assert names(page) == [row["name"] for row in rows]
    assert chosen(page) == rows[0]["name"]

    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    expect(page.locator("#case-name bdi")).to_have_text(rows[1]["name"])
    assert chosen(page) == rows[1]["name"]
    words = rows[1]["words"]
    expect(page.locator("#case-words")).to_contain_text(words[0].upper() + words[1:])
    expect(page.locator("#normals img")).to_have_count(3)

    page.keyboard.press("m")
    page.keyboard.type("=left, <b>base</b>, jk")
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    expect(page.locator("#latest")).to_contain_text("Normal by anna")
    expect(page.locator("#latest")).to_contain_text("=left, <b>base</b>, jk")
    expect(page.locator("#said")).to_contain_text("Stored: normal, by anna")
    expect(page.locator("#rows tr[aria-current] .verdict")).to_have_text("Normal")
    expect(page.locator("#tally")).to_contain_text("of 1 confirmed normal,")
    page.get_by_role("button", name="Unsure").click()
    expect(page.locator("#latest")).to_contain_text("Unsure by anna")
    expect(page.locator("#tally")).to_contain_text("no normal is confirmed yet")
    page.keyboard.press("n")
    expect(page.locator("#tally")).to_contain_text("95\u00a0% interval")

    given = running.get(f"/api/images/{rows[1]['id']}?model=chest")["verdicts"]
    assert [(one["verdict"], one["reader"]) for one in given] == [
        ("normal", "anna"),
        ("unsure", "anna"),
        ("normal", "anna"),
    ]
    with page.expect_download() as download:
        page.click("#export")
    download.value.save_as(tmp_path / "verdicts.csv")
    with (tmp_path / "verdicts.csv").open(newline="") as file:
        exported = [line for line in csv.DictReader(file) if line["image"] == str(rows[1]["id"])]
    assert [line["verdict"] for line in exported] == ["normal", "unsure", "normal"]
    assert exported[0]["note"].endswith("=left, <b>base</b>, jk")


def test_the_page_works_below_a_path_of_another_server(visit, running, normals, tmp_path):
    [row] = running.fill("chest", normals[:1])
    with Proxy(running.port, "/msde", strips=True) as proxy:
        page = visit("chest", url=proxy.url).page
        loaded(page)
        expect(page.locator("#normals img")).to_have_count(3)
        for pictures in ("#normals img", "#rows img"):
            expect(page.locator(pictures).first).not_to_have_js_property("naturalWidth", 0)
        page.keyboard.press("n")
        expect(page.locator("#latest")).to_contain_text("Normal by admin")
        with page.expect_download() as download:
            page.click("#export")
        download.value.save_as(tmp_path / "verdicts.csv")
        assert str(row["id"]) in (tmp_path / "verdicts.csv").read_text()
        assert proxy.missed == []


def test_a_session_that_is_over_asks_for_the_token_and_goes_on(visit, running, normals):
    [row] = running.fill("chest", normals[:1])
    reader = visit("chest")
    page = reader.page
    loaded(page)
    expect(page.locator("#normals img")).to_have_count(3)  # nothing is under way that would ask for the token first
    page.context.clear_cookies()
    page.keyboard.press("a")
    expect(page.locator("#sign-in")).to_be_visible()
    page.fill("#token", running.token)
    page.keyboard.press("Enter")
    expect(page.locator("#latest")).to_contain_text("Abnormal by admin")
    assert len(running.get(f"/api/images/{row['id']}?model=chest")["verdicts"]) == 1

    reader.allowed += ("ERR_INTERNET_DISCONNECTED",)
    page.context.set_offline(True)
    page.keyboard.press("n")
    expect(page.locator("#trouble")).to_contain_text("The service does not answer")
    page.context.set_offline(False)
    page.keyboard.press("n")
    expect(page.locator("#latest")).to_contain_text("Normal by admin")


def test_sorting_filters_and_search(visit, running, abnormals, normals):
    rows = running.fill("chest", abnormals[3:6] + normals[3:5])
    page = visit("chest").page
    heading = page.locator("th[data-sort=name]")
    heading.get_by_role("button").click()
    expect(heading).to_have_attribute("aria-sort", "ascending")
    expect(page.locator("#rows .name a").first).to_have_text(min(row["name"] for row in rows))
    assert names(page) == sorted(row["name"] for row in rows)
    heading.get_by_role("button").click()
    expect(page.locator("#rows .name a").first).to_have_text(max(row["name"] for row in rows))
    expect(heading).to_have_attribute("aria-sort", "descending")

    first = chosen(page)
    loaded(page)
    page.keyboard.press("u")
    expect(page.locator("#latest")).to_contain_text("Unsure")
    page.get_by_role("combobox", name="Verdict").select_option("unsure")
    expect(page.locator("#rows tr")).to_have_count(1)
    assert names(page) == [first]
    page.get_by_role("combobox", name="Verdict").select_option("")
    page.get_by_role("combobox", name="Flag").select_option("true")
    flagged = sum(bool(row["flagged"]) for row in rows)
    expect(page.locator("#total")).to_have_text(f"{flagged} match")
    page.get_by_role("combobox", name="Flag").select_option("")
    page.keyboard.press("/")
    page.locator("body").focus()
    page.get_by_role("searchbox", name="Name").fill("no such name")
    expect(page.locator("#nothing")).to_contain_text("No image matches")
    expect(page.locator("#viewer")).to_be_hidden()
    page.get_by_role("button", name="Show all").click()
    expect(page.locator("#rows tr")).to_have_count(len(rows))


def test_keys_go_on_to_the_next_page(visit, running, normals):
    running.fill("chest", normals[5:57])
    page = visit("chest").page
    expect(page.locator("#rows tr")).to_have_count(50)
    expect(page.locator("#where")).to_have_text("1 to 50 of 52")
    last = page.locator("#rows tr").last
    last.locator("a").click()
    expect(page.locator("#place")).to_have_text("50 of 52")
    page.keyboard.press("j")
    expect(page.locator("#where")).to_have_text("51 to 52 of 52")
    expect(page.locator("#place")).to_have_text("51 of 52")
    page.keyboard.press("k")
    expect(page.locator("#place")).to_have_text("50 of 52")

    # What an address names is shown, on whatever page it stands, and by itself where the list leaves it out.
    page.keyboard.press("j")
    expect(page.locator("#place")).to_have_text("51 of 52")
    shown = page.locator("#case-name bdi").inner_text()
    page.reload()
    expect(page.locator("#place")).to_have_text("51 of 52")
    expect(page.locator("#case-name bdi")).to_have_text(shown)
    loaded(page)
    page.keyboard.press("n")
    expect(page.locator("#rows tr[aria-current] .verdict")).to_have_text("Normal")
    page.keyboard.press("x")
    expect(page.locator("#place")).to_have_text("52 of 52")
    other = page.locator("#rows tr[aria-current] a").get_attribute("href")
    page.goto(f"{running.url}{other}&verdict=unsure")
    expect(page.locator("#nothing")).to_contain_text("No image matches")
    expect(page.locator("#normals img")).to_have_count(3)
    page.goto(f"{running.url}{other}&verdict=normal")
    expect(page.locator("#rows tr")).to_have_count(1)
    expect(page.locator("#place")).to_have_text("")
    expect(page.locator("#case-name bdi")).not_to_have_text(shown)
    assert page.locator("#rows tr[aria-current]").count() == 0
    drawn(page)
    page.locator("#past summary").click()
    page.click("#remove")
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(page.locator("#place")).to_have_text("1 of 1")
    expect(page.locator("#trouble")).to_be_hidden()


def test_an_image_that_is_being_removed_is_asked_for_no_more(visit, running, normals):
    rows = running.fill("chest", normals[:2])
    page = visit("chest").page
    drawn(page)
    expect(page.locator("#live")).to_have_text("live")
    removals = []

    def hold(route):
        removals.append(route) if route.request.method == "DELETE" else route.continue_()

    page.route(re.compile(rf"/api/images/{rows[0]['id']}(\?|$)"), hold)
    page.locator("#past summary").click()
    page.click("#remove")
    page.get_by_role("button", name="Remove", exact=True).click()
    wait_until(lambda: page.wait_for_timeout(50) or removals, "the removal")
    answer = removals[0].fetch()
    with page.expect_response(re.compile("/api/worklist")):  # verdicts may have been missed, of the image shown too
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_timeout(500)
    removals[0].fulfill(response=answer)
    expect(page.locator("#place")).to_have_text("1 of 1")
    expect(page.locator("#case-name bdi")).to_have_text(rows[1]["name"])


def test_an_image_that_could_not_be_removed_is_shown_again(visit, running, normals):
    rows = running.fill("chest", normals[:2])
    visited = visit("chest")
    visited.allowed += ("net::ERR_FAILED",)
    page = visited.page
    loaded(page)
    page.route(re.compile(rf"/api/images/{rows[0]['id']}$"), lambda route: route.abort())
    page.locator("#past summary").click()
    page.click("#remove")
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(page.locator("#trouble")).to_be_visible()
    loaded(page)
    expect(page.locator("#case-name bdi")).to_have_text(rows[0]["name"])
    expect(page.locator("#layers img").first).not_to_have_js_property("naturalWidth", 0)


def test_window_and_level_of_sixteen_bits(visit, running, normals):
    with Image.open(normals[0]) as image:
        values = np.asarray(image.convert("L")).astype(np.uint16) * 200 + 3000
    file = BytesIO()
    Image.fromarray(values).save(file, "PNG")
    running.upload("chest", "deep.png", file.getvalue())
    running.rows("chest")
    page = visit("chest").page
    expect(page.locator("#stage img:not(.overlay)")).to_be_visible()
    page.locator("#level").focus()
    for _ in range(6):
        page.keyboard.press("ArrowLeft")
    page.locator("#width").focus()
    for _ in range(3):
        page.keyboard.press("PageDown")
    expect(page.locator("#stage canvas")).to_be_visible()
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 150, box["y"] + 180, steps=5)
    page.mouse.up()
    middle, wide = (float(page.locator(slider).input_value()) for slider in ("#level", "#width"))
    assert wide < 65535 * (1 - 50 / 400)
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    read = """canvas => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]
        .filter((_, at) => at % 4 === 0)"""
    drawn = np.array(page.locator("#stage canvas").evaluate(read)).reshape(values.shape)
    expected = np.clip((values - (middle - wide / 2)) / wide, 0, 1) * 255
    assert np.abs(drawn - expected).max() <= 1
    assert len(np.unique(drawn)) > 20
    page.keyboard.press("w")
    expect(page.locator("#width + output")).to_have_text("65500")


def test_files_dropped_wait_for_a_full_queue(visit, running, abnormals, tmp_path):
    given = visit("chest")
    page = given.page
    given.allowed += ("status of 429", "status of 415")
    expect(page.locator("#nothing")).to_contain_text("No images yet")
    statuses, addresses = [], []
    page.on("response", lambda answer: statuses.append(answer.status))
    page.on("request", lambda request: addresses.append(request.url))

    refused: list[object] = []

    def refuse_the_first(route):
        """Whether the queue is full depends on the machine's speed; the service's own refusal has tests of its own."""
        if route.request.method != "POST" or refused:
            route.continue_()
        else:
            refused.append(route)
            route.fulfill(status=429, headers={"Retry-After": "1"}, json={"detail": "the queue is full"})

    page.route("**/api/images?*", refuse_the_first)
    files = [tmp_path / f"Müller; 'Ä' ({number}).png" for number in range(16)]
    for file, image in zip(files, abnormals[10:26], strict=True):
        file.write_bytes(running.fresh(image))
    page.set_input_files("#files", files)
    expect(page.locator("#arrivals-says")).to_contain_text("Sending")
    expect(page.locator("#arrivals-says")).to_have_text("16 images received.", timeout=120_000)
    assert 429 in statuses
    assert {row["name"] for row in running.rows("chest")} == {file.name for file in files}
    assert not any("ller" in address for address in addresses)  # addresses are written down on the way
    expect(page.locator("#rows tr")).to_have_count(16)
    expect(page.locator("#queue")).to_have_text("")

    drop = """([name, text]) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([text], name));
      for (const kind of ['dragenter', 'dragover', 'drop'])
        document.body.dispatchEvent(new DragEvent(kind, {dataTransfer: transfer, bubbles: true, cancelable: true}));
    }"""
    page.evaluate(drop, ["<img src=x onerror=alert(1)>.txt", "no image"])
    expect(page.locator("#arrivals-refused")).to_contain_text("is no image in a format that is read")
    expect(page.locator("#arrivals-says")).to_have_text("0 images received; 1 file refused.")
    expect(page.locator("#drop")).to_be_hidden()
    assert page.locator("#arrivals-refused img").count() == 0
    page.set_input_files("#files", files[:1])
    expect(page.locator("#arrivals-says")).to_have_text("1 image received; 1 of them was here before.")


def test_the_threshold_shows_the_rate_to_expect(visit, running, abnormals, normals):
    running.fill("chest", abnormals[40:46] + normals[60:64])
    page = visit("chest").page
    expect(page.locator("#threshold summary")).to_have_text("Threshold: flags 5\u00a0% of normals")
    page.click("#threshold summary")
    expect(page.locator("#rate-says")).to_have_text("5\u00a0%: of 100 normal images, about 5 would be flagged (in use)")
    page.locator("#rate").focus()
    page.keyboard.press("End")
    expect(page.locator("#rate-says")).to_have_text("50\u00a0%: of 100 normal images, about 50 would be flagged")
    flagged = running.get("/api/models/chest/tally?alpha=0.5")["flagged"]
    expect(page.locator("#rate-tally")).to_contain_text(f"Here: {flagged} of 10 images flagged")
    expect(page.locator("#rows tr.flagged")).to_have_count(running.get("/api/models/chest/tally")["flagged"])
    page.get_by_role("button", name="Use this rate").click()
    expect(page.locator("#rows tr.flagged")).to_have_count(flagged)
    expect(page.locator("#tally")).to_contain_text(f"{flagged} of 10 images flagged. False alarms: no normal")
    assert running.get("/api/models/chest")["alpha"] == 0.5
    page.get_by_role("button", name="The model's own rate").click()
    expect(page.locator("#threshold summary")).to_have_text("Threshold: flags 5\u00a0% of normals")
    assert running.get("/api/models/chest")["alpha"] == 0.05


def test_recalibration_makes_a_version_and_keeps_the_one_before(visit, running, normals):
    rows = running.fill("recalibrated", normals[70:76])
    assert running.ask("PUT", "/api/models/recalibrated/threshold", json.dumps({"alpha": 0.3}).encode())[0] == 200
    page = visit("recalibrated").page
    page.click("#about-model summary")
    expect(page.locator("#recalibrate")).to_be_disabled()
    expect(page.locator("#recalibrate-says")).to_contain_text("at least 3 are needed")
    page.locator("#rows tr a").first.click()
    expect(page.locator("#latest")).to_contain_text("No verdict yet")  # no key counts before the image is there
    for number in range(4):
        page.keyboard.press("n")
        expect(page.locator("#latest")).to_contain_text("Normal by admin")
        page.keyboard.press("j")
        expect(page.locator("#place")).to_have_text(f"{number + 2} of {len(rows)}")
        expect(page.locator("#latest")).to_have_text("No verdict yet.")
    expect(page.locator("#recalibrate-says")).to_contain_text("Readers call 4 images normal")
    page.get_by_role("button", name="Recalibrate from confirmed normals").click()
    expect(page.locator("#confirm")).to_contain_text("Version 1 is kept")
    page.keyboard.press("Escape")
    assert running.get("/api/models/recalibrated")["version"] == 1
    page.get_by_role("button", name="Recalibrate from confirmed normals").click()
    page.get_by_role("button", name="Recalibrate", exact=True).click()
    expect(page.locator("#version")).to_have_text("version 2")
    expect(page.locator("#versions tr")).to_have_count(2)
    expect(page.locator("#versions tr").first).to_contain_text("4 confirmed normals")
    expect(page.locator("#rows .often").first).to_contain_text(" 4 ")
    page.get_by_role("button", name="Use version 1").click()
    expect(page.locator("#version")).to_have_text("version 1")
    assert running.get("/api/models/recalibrated")["version"] == 1


def test_drift_is_told(visit, running, tmp_path, rng):
    images = [tmp_path / f"{number:02}.png" for number in range(16)]
    for path in images:
        colours = np.dstack([disc(rng), 255 - disc(rng), disc(rng)])
        Image.fromarray(colours).save(path)
    running.fill("chest", images)
    assert running.get("/api/models/chest/drift")["found"]
    page = visit("chest").page
    expect(page.locator("#drift")).to_contain_text("do not look like the normals")
    expect(page.locator("#drift")).to_contain_text("latest 16 images")
    page.set_viewport_size({"width": 1280, "height": 720})  # it leaves a laptop's screen to the picture
    room = "innerHeight - document.getElementById('stage').getBoundingClientRect().top"
    assert page.evaluate(room) >= 480
    page.locator("#drift summary").click()
    expect(page.locator("#drift-says")).to_be_visible()
    expect(page.locator(".of-window").first).to_be_hidden()  # colour
    page.get_by_role("combobox", name="Model").select_option("second")
    expect(page.locator("#nothing")).to_contain_text("No images yet")
    expect(page.locator("#drift")).to_be_hidden()
    expect(page.locator("#viewer")).to_be_hidden()


def test_what_cannot_be_read_says_why(visit, running, normals):
    running.upload("chest", "<script>alert(1)</script>.png", b"\x89PNG\r\n\x1a\n" + b"cut off" * 10)
    given = visit("chest")
    given.allowed += ("status of 422",)  # of its pictures
    page = given.page
    running.rows("chest")
    expect(page.locator("#rows .often")).to_contain_text("No score: ")
    expect(page.locator("#case-words")).to_contain_text("damaged or truncated PNG")
    expect(page.locator("#stage")).to_contain_text("The picture cannot be shown.")
    assert page.locator("#rows .name a").inner_text() == "<script>alert(1)</script>.png"
    page.click("#past summary")
    page.get_by_role("button", name="Remove this image").click()
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(page.locator("#nothing")).to_contain_text("No images yet")


def test_what_is_kept_no_longer_says_so_and_asks_for_no_picture(visit, running, normals):
    [row] = running.fill("chest", normals[:1])
    database = Database(f"sqlite:///{running.data / 'msde.db'}")
    assert purge(database, Store(running.data), timedelta(0), "test") == 1
    database.close()
    page = visit("chest").page  # which fails by any picture that cannot be had
    expect(page.locator("#rows .name a")).to_have_text(f"image {row['id']}")
    expect(page.locator("#case-notes")).to_contain_text("kept no longer; scores and verdicts are")
    expect(page.locator("#case-words")).to_contain_text("normal images")
    expect(page.locator("#stage img")).to_have_count(0)
    expect(page.locator("#latest")).to_contain_text("No verdict yet")  # no key counts before all is known of the image
    page.keyboard.press("a")
    expect(page.locator("#latest")).to_contain_text("Abnormal by admin")


def test_a_verdict_is_not_drawn_over_by_what_was_asked_before_it(visit, running, normals):
    [row] = running.fill("chest", normals[:1])
    page = visit("chest").page
    expect(page.locator("#latest")).to_contain_text("No verdict yet")
    page.click("#threshold summary")
    page.locator("#rate").focus()
    page.keyboard.press("End")
    held = []
    page.route(f"**/api/images/{row['id']}?*", lambda route: held.append((route, route.fetch())))
    page.get_by_role("button", name="Use this rate").click()
    while not held:  # the browser's events come while it is waited for
        page.wait_for_timeout(20)
    page.locator("#judge button[value=abnormal]").click()
    expect(page.locator("#latest")).to_contain_text("Abnormal by admin")
    for route, answer in held:
        route.fulfill(response=answer)
    page.wait_for_timeout(500)
    expect(page.locator("#latest")).to_contain_text("Abnormal by admin")
    page.unroute_all()
    page.get_by_role("button", name="The model's own rate").click()
    expect(page.locator("#threshold summary")).to_have_text("Threshold: flags 5\u00a0% of normals")


def test_slices_of_a_volume(visit, running, normals):
    pages = []
    for path in normals[80:88]:
        with Image.open(path) as image:
            pages.append(image.convert("L").resize((128, 128)))
    file = BytesIO()
    pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:])
    number = running.upload("chest", "stack.tif", file.getvalue())
    running.rows("chest")
    page = visit("chest").page
    top = running.get(f"/api/images/{number}?model=chest")["top_parts"]
    expect(page.locator("#case-words")).to_contain_text("not calibrated on volumes")
    expect(page.locator("#slice-says")).to_have_text(f"{top[0]['part'] + 1} of 8")
    page.locator("#strip button").nth(1).click()
    expect(page.locator("#slice-says")).to_have_text(f"{top[1]['part'] + 1} of 8")
    expect(page.locator("#strip button").nth(1)).to_have_attribute("aria-pressed", "true")
    source = f"api/images/{number}/picture?model=chest&part={top[1]['part']}&side=1024"
    expect(page.locator("#stage img:not(.overlay)")).to_have_attribute("src", source)
    page.locator("#slice").focus()
    page.keyboard.press("Home")
    expect(page.locator("#slice-says")).to_have_text("1 of 8")
    expect(page.locator("#stage img:not(.overlay)")).to_have_attribute("alt", "stack.tif, slice 1, with overlay")


def test_the_overlay_fades_and_goes(visit, running, abnormals):
    running.fill("chest", abnormals[47:48])
    page = visit("chest").page
    overlay = page.locator("#stage .overlay")
    expect(overlay).to_have_css("opacity", "0.5")
    assert overlay.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    page.locator("#opacity").focus()
    page.keyboard.press("End")
    expect(overlay).to_have_css("opacity", "1")
    page.keyboard.press("Space")
    expect(overlay).to_have_css("opacity", "0")
    expect(page.locator("#said")).to_have_text("Overlay off.")
    page.keyboard.press("Space")
    expect(overlay).to_have_css("opacity", "1")


def test_two_models_and_the_address_remember_the_reader(visit, running, normals):
    both = running.fresh(normals[90])
    for model in ("chest", "second"):
        running.upload(model, "both.png", both)
    running.fill("second", normals[91:92])
    page = visit("second").page
    page.keyboard.press("j")
    expect(page.locator("#place")).to_have_text("2 of 2")
    name = page.locator("#case-name bdi").inner_text()
    page.reload()
    expect(page.locator("#case-name bdi")).to_have_text(name)
    assert page.locator("#model").input_value() == "second"
    page.locator("#rows").get_by_text("both.png").click()
    expect(page.locator("#said-by tr")).to_have_count(2)
    page.locator("#said-by").get_by_role("link", name="chest").click()
    expect(page.locator("#model")).to_have_value("chest")
    expect(page.locator("#case-name bdi")).to_have_text("both.png")
    expect(page.locator("#said-by [aria-current]")).to_contain_text("chest")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_have_contrast(visit, running, abnormals, scheme):
    """WCAG 2.2 asks for 4.5 between text and ground."""
    running.fill("chest", abnormals[50:52])
    page = visit("chest", color_scheme=scheme).page
    loaded(page)
    page.keyboard.press("a")
    expect(page.locator("#latest")).to_contain_text("Abnormal")
    for panel in ("#threshold", "#about-model", "#past"):
        page.click(f"{panel} summary")
    ratio, node = page.evaluate(CONTRAST)
    assert ratio >= 4.5, node
    page.keyboard.press("?")
    ratio, node = page.evaluate(CONTRAST)
    assert ratio >= 4.5, node


def test_assistive_technology_finds_its_way(visit, running, abnormals):
    running.fill("chest", abnormals[52:53])
    page = visit("chest").page
    expect(page.locator("#stage img:not(.overlay)")).to_be_visible()
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    seen = [node for node in nodes if not node["ignored"]]
    roles = [node["role"]["value"] for node in seen]
    for landmark in ("banner", "main", "search", "note", "status", "table"):
        assert landmark in roles, landmark
    controls = ("button", "textbox", "searchbox", "combobox", "slider", "link", "image", "form", "region")
    unnamed = [
        node["role"]["value"] for node in seen if node["role"]["value"] in controls and not node["name"]["value"]
    ]
    assert unnamed == []
    assert roles.count("rowheader") == page.locator("#rows tr").count()
    assert roles.count("columnheader") == page.locator("#worklist thead th:visible").count()


def test_everything_is_reached_by_the_tab_key_and_seen_to_be(visit, running, abnormals):
    running.fill("chest", abnormals[53:54])
    page = visit("chest").page
    expect(page.locator("#level")).to_be_visible()
    reached: set[str] = set()
    for _ in range(80):
        page.keyboard.press("Tab")
        at = page.evaluate(
            """() => {
              const node = document.activeElement;
              if (node === document.body) return null;
              const seen = document.querySelector(`label.button[for="${node.id}"]`) || node;
              return [node.id || node.name || node.value || node.textContent, getComputedStyle(seen).outlineStyle];
            }"""
        )
        if at is None and reached:
            break
        if at is None:
            continue
        reached.add(at[0])
        assert at[1] != "none", at
    for control in (
        "model",
        "files",
        "export",
        "search",
        "normal",
        "abnormal",
        "unsure",
        "note",
        "level",
        "width",
        "enlarge",
    ):
        assert control in reached, control


def test_keys_can_be_switched_off(visit, running, abnormals):
    running.fill("chest", abnormals[54:56])
    page = visit("chest").page
    before = chosen(page)
    page.keyboard.press("?")
    page.get_by_label("Use these keys").uncheck()
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("j")
    assert chosen(page) == before


def test_a_narrow_screen_needs_no_sideways_scrolling(visit, running, abnormals):
    running.fill("chest", abnormals[56:57])
    page = visit("chest").page
    for panel in ("#threshold", "#about-model", "#past"):
        page.click(f"{panel} summary")
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_picture_that_the_service_was_too_busy_for_is_asked_for_again(visit, running, normals):
    running.fill("chest", normals[:2])
    given = visit("chest")
    given.allowed += ("status of 429",)
    page, refused = given.page, set()

    def refuse_once(route):
        if route.request.url in refused:
            route.continue_()
        else:
            refused.add(route.request.url)
            route.fulfill(status=429, headers={"Retry-After": "1"}, body="")

    expect(page.locator("#stage img").first).to_be_visible()
    page.route("**/picture?*", refuse_once)
    page.locator("#rows tr").nth(1).click()
    expect(page.locator("#stage img").first).to_have_attribute("src", re.compile("^blob:"))
    expect(page.locator("#stage")).not_to_contain_text("cannot be shown")
    page.wait_for_function("document.querySelector('#stage img').naturalWidth > 0")
    assert any("side=1024" in url for url in refused)
    assert given.unexpected == []


def test_evidence_the_nearest_labelled_image_and_the_patient_are_shown(visit, running, abnormals):
    wait_until(lambda: running.get(f"/api/models/{LABELLED}")["has_labelled"], "labelled images")
    contents = []
    for number, image in enumerate(abnormals[50:52]):
        with Image.open(image) as picture:
            values = np.asarray(picture).astype(np.uint16)
        contents.append(dicom_bytes(values, PatientID="A", InstanceNumber=number, WindowCenter=128, WindowWidth=256))
    for number, content in enumerate(contents):
        running.upload(LABELLED, f"{number}.dcm", content)
    rows = running.rows(LABELLED)
    page = visit(LABELLED).page
    words = "Like the abnormal images you labelled, bright <square>."
    expect(page.locator("#rows tr").first).to_contain_text(words)
    expect(page.locator("#case-notes")).to_contain_text(words)
    expect(page.locator("#case-patient")).to_contain_text("Of the 2 images known to be of the patient: ")
    expect(page.locator("#case-patient")).to_contain_text("patient flagged")
    expect(page.locator("#labelled img")).to_have_count(1)
    expect(page.locator("#labelled figcaption")).to_have_text("bright <square>")
    expect(page.locator("#labelled img")).not_to_have_js_property("naturalWidth", 0)
    expect(page.locator("#normals img")).to_have_count(3)
    page.click("#about-model summary")
    expect(page.locator("#facts")).to_contain_text("6 labelled abnormal images of 6 patients: 6 bright <square>")
    expect(page.locator("#about-model .use")).to_contain_text("images that were labelled abnormal")
    page.select_option("#filters [name=evidence]", "unlike")
    expect(page.locator("#nothing")).to_contain_text("No image matches")
    page.select_option("#filters [name=evidence]", "like")
    expect(page.locator("#rows tr")).to_have_count(len(rows))
    page.select_option("#model", "chest")
    expect(page.locator("#of-evidence")).to_be_hidden()
    expect(page.locator("#about-model .use")).to_contain_text("normal images alone")


def test_pictures_that_stand_there_are_not_asked_for_again(visit, running, normals):
    running.fill("chest", normals[60:63])
    page, asked = visit("chest").page, []
    expect(page.locator("#rows img").last).not_to_have_js_property("naturalWidth", 0)
    page.on("request", lambda request: asked.append(request.url))
    page.locator("th[data-sort=name] button").click()
    expect(page.locator("th[data-sort=name]")).to_have_attribute("aria-sort", "ascending")
    running.upload("chest", "one more.png", running.fresh(normals[63]))
    running.rows("chest")
    expect(page.locator("#rows tr")).to_have_count(4)
    expect(page.locator("#rows img").last).not_to_have_js_property("naturalWidth", 0)
    assert sum("side=112" in url for url in asked) == 1
