"""A tiny training: small discs and a network of timm's for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.pictures import brains, disc

from msde.images import find_images, read_pixels, to_input
from msde.pretrain.anatomy import anatomy_masks
from msde.pretrain.images import PretrainImages

TINY = "timm:test_resnet"


@pytest.fixture(scope="session")
def normals() -> PretrainImages:
    rng = np.random.default_rng(5)
    images = np.stack([np.stack([disc(rng, side=32)] * 3) for _ in range(20)])
    return PretrainImages(images, anatomy_masks(list(images)), np.arange(4, 20), np.arange(4), [])


@pytest.fixture(scope="session")
def heads() -> list[np.ndarray]:
    """The demo's brains at 160 px."""
    return [to_input(read_pixels(scan), 160) for scan in brains(12)]


@pytest.fixture
def real(shared: Path):
    """Read some real images of a set at 160 px."""

    def read(name: str, count: int = 12) -> list[np.ndarray]:
        paths = find_images([shared / "data" / name / "train/normal"])
        return [to_input(read_pixels(path), 160) for path in paths[:: len(paths) // count][:count]]

    return read
