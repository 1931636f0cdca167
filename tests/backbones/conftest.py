"""Fixtures of the backbone tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from msde.backbones import Backbone, load_backbone
from msde.backbones.registry import BUILT_IN, registry, weights_file
from msde.backbones.session import EmbeddingSession


@pytest.fixture(scope="session")
def lite0() -> Backbone:
    return load_backbone()


@pytest.fixture(scope="session")
def lite0_session(lite0: Backbone) -> EmbeddingSession:
    return EmbeddingSession(lite0)


@pytest.fixture(scope="session")
def lite0_file() -> Path:
    return weights_file(registry()[BUILT_IN])


@pytest.fixture
def pixels(rng: np.random.Generator) -> np.ndarray:
    """Nineteen smooth-edged random pictures: more than two batches of the session and a rest."""
    coarse = rng.random((19, 3, 14, 14), np.float32)
    return np.ascontiguousarray(coarse.repeat(16, axis=2).repeat(16, axis=3))
