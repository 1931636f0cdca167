"""Every network of the registry, small and with random weights: from the original's files to heat maps and back."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.backbones.tiny_networks import TINY
from tests.requirements import need

from msde import AnomalyModel
from msde.backbones import export, load_backbone
from msde.backbones.known import registry

NEEDS = {
    "builtin": (),
    "timm": (),
    "hf": ("transformers",),
    "open_clip": ("open_clip",),
    "xrv": ("xrv",),
}
Graph = tuple[bytes, dict[str, np.ndarray]]
DISC = np.hypot(*np.mgrid[-1:1:48j, -1:1:48j]) < 0.8


def test_there_is_a_small_one_of_each() -> None:
    assert set(TINY) == set(registry())


@pytest.fixture(scope="module")
def normals() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [np.clip(DISC * 0.6 + rng.normal(0, 0.05, DISC.shape), 0, 1).astype(np.float32) for _ in range(12)]


@pytest.fixture(scope="module")
def traced() -> dict[object, Graph]:
    return {}


def once(traced: dict[object, Graph], pooling: str) -> Callable[..., Graph]:
    """Export once what is the same to the last weight; each network is compared with its graph as ever."""
    to_onnx = export.to_onnx

    def known(name: str, network: Any, size: int, outputs: list[str]) -> Graph:
        weights = sha256(b"".join(tensor.numpy().tobytes() for tensor in network.state_dict().values()))
        key = str(network), weights.digest(), pooling, size, tuple(outputs)
        if key not in traced:
            traced[key] = to_onnx(name, network, size, outputs)
        return traced[key]

    return known


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(registry()))
def test_a_network_fits_scores_explains_and_comes_back(
    name: str,
    normals: list[np.ndarray],
    traced: dict[object, Graph],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry: Mapping[str, Any] = registry()[name] | TINY[name].changes
    need("torch", *NEEDS[entry["loader"]])
    if arguments := TINY[name].of_timm:
        import timm

        monkeypatch.setattr(timm, "create_model", partial(timm.create_model, **arguments))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries, while they build
        seeded()
        checkpoint = TINY[name].save(dict(entry), tmp_path)
    monkeypatch.setitem(registry(), name, entry)
    monkeypatch.setattr(export, "to_onnx", once(traced, entry["pooling"]))
    backbone = load_backbone(name, checkpoint)
    assert backbone.levels == tuple(entry["levels"])
    assert backbone.looks == tuple(entry.get("looks", ()))
    assert (backbone.dim, backbone.input_size, backbone.mean) == (entry["dim"], entry["input_size"], (*entry["mean"],))

    odd = normals[0].copy()
    odd[10:24, 10:24] = 1
    smaller_than_a_patch = normals[1][:9, :12]
    model = AnomalyModel(backbone).fit(normals)
    scores = [score.anomaly_score for score in model.score([odd, smaller_than_a_patch])]
    assert np.isfinite(scores).all()
    heat = model.explain(odd).heat
    assert heat.shape == odd.shape
    assert 0 <= heat.min() <= heat.max() <= 1  # where it is hot says little of random weights
    model.save(tmp_path / "m.msde")
    again = AnomalyModel.load(tmp_path / "m.msde")
    found = [score.anomaly_score for score in again.score([odd, smaller_than_a_patch])]
    assert found == pytest.approx(scores, rel=1e-6)
    np.testing.assert_allclose(again.explain(odd).heat, heat, atol=1e-5)


def seeded() -> None:
    import torch

    torch.manual_seed(0)
