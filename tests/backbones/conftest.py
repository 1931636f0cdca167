"""Fixtures of the backbone tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from msde.backbones import Backbone, load_backbone
from msde.backbones.builtin import weights_file
from msde.backbones.known import BUILT_IN, registry
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


@pytest.fixture(scope="session")
def agrees() -> Callable[[Backbone, Callable[[Any], Any]], None]:
    """Check a backbone against what its library gives for the same, normalised images."""

    def check(backbone: Backbone, original: Callable[[Any], Any]) -> None:
        import torch

        pixels = np.random.default_rng(5).random((11, 3, backbone.input_size, backbone.input_size), np.float32)
        mean, std = (np.array(values, np.float32).reshape(1, 3, 1, 1) for values in (backbone.mean, backbone.std))
        with torch.inference_mode():
            expected = original(torch.from_numpy((pixels - mean) / std)).numpy()
        session = EmbeddingSession(backbone)
        found = session.embed(pixels)
        assert found.shape == expected.shape == (11, backbone.dim)
        assert found.std(axis=0).max() > 0
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())
        alone = np.concatenate([session.embed(row[None]) for row in pixels])
        np.testing.assert_allclose(alone, found, rtol=0, atol=1e-5 * np.abs(found).max())
        maps = session.run(pixels[:2], backbone.levels).values()
        sides = [values.shape[2] for values in maps]
        assert all(values.ndim == 4 for values in maps)
        assert sides == sorted(sides, reverse=True)
        described = Backbone.from_description(backbone.describe(), backbone.graph, backbone.weights)
        assert described.sha256 == backbone.sha256
        assert b"site-packages" not in backbone.graph

    return check
