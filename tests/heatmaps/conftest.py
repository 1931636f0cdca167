"""A model of discs, and what its localizer was fitted on in the abstract."""

import pytest
from tests.heatmaps.maps import made_up
from tests.pictures import write_discs

from msde import AnomalyModel
from msde.heatmaps.localizer import Localizer


@pytest.fixture(scope="session")
def localizer():
    return Localizer.fit({"plain": made_up(60), "stretched": made_up(60, seed=1)})


@pytest.fixture(scope="session")
def discs(tmp_path_factory):
    root = tmp_path_factory.mktemp("discs")
    write_discs(root / "train", 40)
    write_discs(root / "normal", 8, seed=1)
    write_discs(root / "abnormal", 8, seed=2, lesion=True)
    return root


@pytest.fixture(scope="session")
def model(discs):
    return AnomalyModel().fit(discs / "train")
