from pathlib import Path

import pytest

from msde.benchmark.config import PUBLISHED, read_config
from msde.errors import DataError


def test_the_committed_files_are_whole():
    shared = read_config(Path(__file__).parents[2] / "benchmarks/shared.toml")
    assert {one.name for one in shared.protocols} == {
        "published",
        "single",
        "prevalence",
        "contamination",
        "few-normals",
        "cross-site",
    }
    published = read_config(PUBLISHED)
    assert [one.published["auroc"] for one in published.sets] == [0.918, 0.819, 0.981, 0.81, 0.705, 0.812, 0.736]
    assert [one.published["ap"] for one in published.sets] == [0.906, 0.797, 0.981, 0.831, 0.638, 0.82, 0.867]


def test_what_is_left_out_has_a_default(toml):
    config = read_config(toml)
    assert config.draws == 5
    assert config.backbones[0].networks == ("efficientnet_lite0",)
    assert config.sets[0].folder == "here"
    assert config.protocols[0].detectors == config.detectors


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('title = "Discs"', "", "title"),
        ('title = "Discs"', "title = 3", "title"),
        ('title = "Discs"', 'title = "Discs"\ndraws = 4', "draws"),
        ('title = "Discs"', 'title = "Discs"\ndraws = true', "draws"),
        ('title = "Discs"', 'title = "Discs"\nalpha = 1.5', "alpha"),
        ('title = "Discs"', 'title = "Discs"\nspeed = 9', "speed"),
        ('"displacement"]', '"dispacement"]', "dispacement"),
        ('"displacement"]', '"displacement", "msde"]', "detectors"),
        ('"displacement"]', '"pyod:nothing.There"]', "nothing"),
        ("auroc = 0.9", "auroc = 9", "sets.there.published.auroc"),
        ("auroc = 0.9", "roc = 0.9", "sets.there.published.roc"),
        ("[sets.here]", "[sets.here]\npatient = '('", "sets.here.patient"),
        ("[backbones.efficientnet_lite0]", "[backbones.efficientnet_lite0]\nlooks = ['side']", "side"),
        ("[protocols.single]", "[protocols.double]", "protocols.double"),
        ("[protocols.single]", "[protocols.single]\ndetectors = ['lof']", "lof"),
        ("conditions = [0.1, 0.5]", "conditions = [1.5]", "1.5"),
        ('conditions = [5, 100, "all"]', "conditions = [1]", "1"),
        ("[protocols.single]", "[protocols.single", "TOML"),
    ],
)
def test_a_slip_is_named_in_one_line(toml, old, new, named):
    text = toml.read_text()
    assert old in text
    toml.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=named) as caught:
        read_config(toml)
    assert str(caught.value).startswith(str(toml))
    assert "\n" not in str(caught.value).strip()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="none.toml"):
        read_config(tmp_path / "none.toml")
