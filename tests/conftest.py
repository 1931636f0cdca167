"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

# A busy machine is no failure.
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real images and golden arrays, outside the repository."""
    folder = Path(os.environ.get("MSDE_SHARED", Path(__file__).parents[2] / "shared"))
    if not folder.is_dir():
        pytest.fail(f"{folder} is missing; set MSDE_SHARED to the folder with data/ and golden/")
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20260419)
