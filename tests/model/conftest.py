"""The folder that the model was fitted on."""

import pytest


@pytest.fixture(scope="session")
def train(discs):
    return discs / "train"
