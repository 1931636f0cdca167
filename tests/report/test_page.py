import hashlib
import re
from base64 import b64encode
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from msde.errors import OutputError
from msde.images import find_images
from msde.method.calibration import Calibration
from msde.method.drift import Drift
from msde.model.anomaly_model import AnomalyModel
from msde.report import Worklist, make_worklist, write_report

from .conftest import HOSTILE

VOID = {"meta", "img", "input"}


class Tree(HTMLParser):
    """The tags of a page, checked for balance, and its text."""

    def __init__(self, text):
        super().__init__()
        self.open: list[str] = []
        self.tags, self.texts = [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID and not self.get_starttag_text().endswith("/>"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.texts.append(data)

    @property
    def text(self):
        return " ".join("".join(self.texts).split())


def written(worklist, model, path, **settings):
    write_report(worklist, model, path / "report.html", settings)
    return (path / "report.html").read_text(encoding="utf-8")


def test_research_use_comes_first_and_is_printed_on_each_page(page):
    assert Tree(page).text.split("Worklist of", 2)[1].lstrip().startswith("8 images For research use only.")
    assert re.search(r'@page \{[^}]*@top-left \{ content: "For research use only', page)


def test_the_page_is_whole_and_refers_to_nothing_outside(page):
    for tag, attributes in Tree(page).tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            assert name != "style"
            if name in ("src", "href", "data-large", "data-overlay"):
                assert value.startswith(("data:image/webp;base64,", "#")), value[:80]
    assert "http://" not in page
    assert "https://" not in page
    assert "@import" not in page


def test_links_within_the_page_have_their_ends(page):
    tags = Tree(page).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    ends = {attributes["href"][1:] for _, attributes in tags if "href" in attributes}
    alike = {f"normal-{n}" for _, attributes in tags for n in attributes.get("data-alike", "").split()}
    assert alike
    assert ends | alike <= set(ids)


def test_nothing_may_run_but_the_page_s_own_script(page):
    policy = next(attributes["content"] for tag, attributes in Tree(page).tags if "http-equiv" in attributes)
    for kind in ("style", "script"):
        (content,) = re.findall(rf"<{kind}>(.*?)</{kind}>", page, re.DOTALL)
        digest = b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy


def test_a_hostile_file_name_is_text(page):
    tree = Tree(page)
    assert HOSTILE in tree.text
    assert all(attributes.get("src", "data:").startswith("data:") for _, attributes in tree.tags)


def test_no_folder_above_the_images_is_named(page, incoming, train):
    assert "DOE" not in page
    assert str(train.parent) not in page
    assert "abnormal/000.png" in page
    assert "broken.png: is not an image" in Tree(page).text


def test_the_summary_counts(page):
    text = Tree(page).text
    assert "Worklist of 8 images" in text
    assert re.search(
        r"[4-7] of 7 images flagged, with p-values of at most 0.05. If all were normal, about 0 would", text
    )
    assert "No score for 1 case" in text
    assert "none of 40 held-out normal images scores this high" in text.replace("None", "none")
    assert "Fitted on 40 normal images" in text.replace("Fitted on40", "Fitted on 40")


def test_drift_is_said(worklist, model, tmp_path):
    assert "Drift: these images do not look like" not in Tree(written(worklist, model, tmp_path)).text
    drifted = replace(worklist, drift=Drift(0.9, 0.3))
    assert "Drift: these images do not look like" in Tree(written(drifted, model, tmp_path)).text


def test_overlays_are_there_where_the_model_explains(explained, explaining, tmp_path):
    tags = Tree(written(explained, explaining, tmp_path)).tags
    assert sum("data-overlay" in attributes for _, attributes in tags) == 7
    assert [attributes.get("class") for tag, attributes in tags if tag == "img"][:2] == ["plain covered", "overlay"]


def test_there_are_none_where_it_does_not(page):
    assert "data-overlay=" not in page
    assert 'class="colours' not in page


def test_heat_maps_have_a_colour_bar_with_units(explained, explaining, tmp_path):
    text = written(explained, explaining, tmp_path)
    assert text.count("data-overlay=") == 7
    assert text.count('class="colours') == 1
    assert "Colours from 1 in 100 to 1 in 10,000" in text
    assert "full at 1 in 10,000; at most 5.0% of normal images show any" in text


def test_a_volume_has_a_row_with_its_slices(model, stack, tmp_path):
    text = written(make_worklist(model, find_images([stack])), model, tmp_path)
    assert text.count('<figure class="shot"') == 5
    assert "Worklist of 1 volume" in text
    assert "not calibrated on volumes" in text
    assert "8 slices" in text


def test_a_model_calibrated_on_volumes_gives_them_p_values(model, stack, tmp_path):
    volumes = Calibration(np.linspace(1, 2, 30), 0.05, "held-out volumes")
    model = AnomalyModel.of(replace(model.fitted, volumes=volumes), model.session)
    text = written(make_worklist(model, find_images([stack])), model, tmp_path)
    assert "None of 30 held-out normal volumes scores this high" in text
    assert "1 of 1 volume flagged" in text
    assert 'id="normal-volumes"' in text


def test_transductive_scores_have_no_p_values(network, train, incoming, tmp_path):
    from msde.estimators.detector import MSDEDetector

    model = AnomalyModel(network, detector=MSDEDetector("transductive")).fit(find_images([train]), heatmaps=False)
    text = Tree(written(make_worklist(model, find_images([incoming])), model, tmp_path)).text
    assert "Transductive scores depend on the batch" in text
    assert "No p-value" in text
    assert "normal images scores this high" not in text


def test_settings_are_shown_as_given(worklist, model, tmp_path):
    text = Tree(written(worklist, model, tmp_path, Title="<b>$cost</b>")).text
    assert "<b>$cost</b>" in text


def test_the_same_worklist_gives_the_same_bytes(worklist, model, tmp_path):
    assert written(worklist, model, tmp_path) == written(worklist, model, tmp_path)


def test_an_empty_worklist_is_a_page(model, tmp_path):
    assert "Worklist of no images" in written(Worklist([], Drift(0.0, 1.0), None), model, tmp_path)


def test_an_image_that_has_gone_is_said(model, incoming, tmp_path):
    folder = tmp_path / "going"
    folder.mkdir()
    (folder / "1.png").write_bytes((incoming / "normal" / "000.png").read_bytes())
    worklist = make_worklist(model, find_images([folder]))
    (folder / "1.png").unlink()
    text = Tree(written(worklist, model, tmp_path)).text
    assert "Can no longer be shown: 1.png" in text


def test_an_interrupted_report_leaves_the_old_one(worklist, model, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_report(worklist, model, path, tick=interrupt)
    assert path.read_text() == "old"


def test_a_folder_that_is_missing_is_one_line(worklist, model, tmp_path):
    with pytest.raises(OutputError, match="report.html: cannot be written"):
        write_report(worklist, model, tmp_path / "missing" / "report.html")


def test_a_flagged_case_tells_which_evidence_spoke_and_the_card_what_was_labelled(network, discs, tmp_path):
    abnormal = sorted((discs / "abnormal").iterdir())
    kinds = {str(abnormal[0].parent): "<b>square"}
    model = AnomalyModel(network).fit(discs / "train", abnormal=abnormal[:8], kinds=kinds, heatmaps=False)
    page = written(make_worklist(model, find_images(abnormal[8:])), model, tmp_path)
    assert "Like the abnormal images you labelled, <b>square." in Tree(page).text
    assert "8 labelled abnormal images of 8 patients: 8 <b>square" in Tree(page).text
    assert "<b>" not in page
