import json

import pytest
from tests.command import msde

from msde.output.model_card import model_card

FIGURES = {
    "auroc": 0.91234,
    "auroc_ci": [0.9, 0.95],
    "ap": 0.8,
    "ap_ci": [0.7, 0.9],
    "ap_chance": 0.5,
    "n_normal": 1200,
    "n_abnormal": 40,
    "false_alarm_rate": 0.05,
    "sensitivity": None,
}


@pytest.fixture
def saved(plain_model, tmp_path):
    plain_model.save(tmp_path / "discs.msde")
    (tmp_path / "site: a.json").write_text(json.dumps(FIGURES))
    return tmp_path / "discs.msde"


def front_matter(text):
    first, second = (place for place, line in enumerate(text.splitlines()) if line == "---")
    assert first == 0
    return text.splitlines()[1:second]


def test_a_card_says_what_the_file_knows(saved):
    text = msde("card", saved).stdout
    assert front_matter(text)[:3] == ["license: apache-2.0", "library_name: msde", "pipeline_tag: image-classification"]
    for part in (
        "Not a medical device",
        "- 40 images taken to be normal",
        "## Calibration",
        "Nothing yet",
        "## Limits",
    ):
        assert part in text


def test_it_says_which_images_it_is_for(plain_model):
    info = {**plain_model.info(), "applies_to": {"to": ["DX:CHEST", "CR:CHEST"], "source": "headers of the normals"}}
    assert "- It is for DX:CHEST, CR:CHEST (headers of the normals)" in list(model_card(info, "m", {}))


def test_figures_stand_in_table_and_front_matter(saved, tmp_path):
    done = msde(
        "card",
        saved,
        "-o",
        tmp_path / "README.md",
        "--evaluation",
        f"site: a={tmp_path / 'site: a.json'}",
        "--name",
        "x",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    text = (tmp_path / "README.md").read_text()
    assert "| site: a | 1,200 / 40 | 0.912 (0.900 to 0.950) | 0.800 (0.700 to 0.900; 0.500) | 5.0% | – |" in text
    lines = front_matter(text)
    assert '- name: "x"' in lines
    assert '      name: "site: a"' in lines
    assert "      value: 0.9123" in lines
    assert not [line for line in lines if "sensitivity" in line]


def test_what_is_no_evaluation_is_refused(saved, tmp_path):
    assert msde("card", saved, "--evaluation", "x").returncode == 2
    assert "cannot be read as JSON" in msde("card", saved, "--evaluation", f"x={saved}").stderr
    (tmp_path / "other.json").write_text("{}")
    done = msde("card", saved, "--evaluation", f"x={tmp_path / 'other.json'}")
    assert (done.returncode, done.stdout) == (1, "")
    assert "is no evaluation" in done.stderr
