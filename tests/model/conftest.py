"""The fixtures of the heat maps, and the folder that their model was fitted on."""

import pytest
from tests.heatmaps.conftest import discs, model  # noqa: F401 - fixtures


@pytest.fixture(scope="session")
def train(discs):  # noqa: F811
    return discs / "train"
