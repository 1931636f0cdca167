from pathlib import Path

import pytest
from tests.pictures import write_discs

TOML = r"""
title = "Discs"
select = true
detectors = ["msde", "isolation-forest", "msde-adaptive", "displacement", "msde-labelled", "nearest-labelled"]

[sets.here]
modality = "disc"
kind = '\d(?=\d\.)'

[sets.there]
modality = "disc"
published = { auroc = 0.9 }

[backbones.efficientnet_lite0]

[protocols.published]

[protocols.single]

[protocols.prevalence]
conditions = [0.1, 0.5]
detectors = ["msde", "displacement"]

[protocols.contamination]
conditions = [0.1]
detectors = ["msde"]

[protocols.few-normals]
conditions = [5, 100, "all"]
detectors = ["msde"]

[protocols.cross-site]
detectors = ["msde"]

[protocols.few-labels]
conditions = [1, 3]
detectors = ["msde", "msde-labelled", "nearest-labelled"]

[protocols.open-set]
conditions = [2]
detectors = ["msde", "msde-labelled"]
"""


@pytest.fixture(scope="session")
def sets(tmp_path_factory) -> Path:
    """Two small sets of the same modality."""
    folder = tmp_path_factory.mktemp("sets")
    for seed, name in enumerate(("here", "there")):
        write_discs(folder / name / "train/normal", 20, seed=10 * seed)
        write_discs(folder / name / "test/normal", 16, seed=10 * seed + 1)
        write_discs(folder / name / "test/abnormal", 16, seed=10 * seed + 2, lesion=True)
    return folder


@pytest.fixture
def toml(tmp_path) -> Path:
    path = tmp_path / "discs.toml"
    path.write_text(TOML)
    return path
