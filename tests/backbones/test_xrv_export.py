"""Networks of torchxrayvision with random weights, saved to disk as its weights are: whole, pickled."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.requirements import need

from msde.backbones import Backbone, load_backbone
from msde.backbones.known import registry
from msde.backbones.session import EmbeddingSession
from msde.errors import BackboneError, WeightsFileError

TINY = {"growth_rate": 4, "block_config": [2, 2, 2, 2], "num_init_features": 8}


def test_no_torchxrayvision_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torchxrayvision", None)
    with pytest.raises(BackboneError, match=r"pip install 'msde\[xrv\]'"):
        load_backbone("xrv-densenet121", tmp_path / "net.pt")


@pytest.fixture(scope="module")
def xrv() -> Iterator[Any]:
    need("torch", "xrv")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torchxrayvision

        yield torchxrayvision


@pytest.fixture
def tiny(xrv: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A small DenseNet, which the registry knows as the large one."""
    import torch

    torch.manual_seed(0)
    network = xrv.models.DenseNet(**TINY).eval()
    for name, values in network.named_buffers():  # batch norms that do something
        if name.endswith("running_mean"):
            values.normal_(0, 0.1)
    entry = registry()["xrv-densenet121"] | {"options": TINY, "input_size": 64, "dim": network.classifier.in_features}
    monkeypatch.setitem(registry(), "xrv-densenet121", entry)
    return network


def agree(backbone: Backbone, features: Callable[[Any], Any], rng: np.random.Generator) -> None:
    """The graph takes RGB pixels in [0, 1], the network grey ones in [-1024, 1024]."""
    import torch

    pixels = rng.random((5, 3, backbone.input_size, backbone.input_size), np.float32)
    with torch.inference_mode():
        expected = features(torch.from_numpy(2048 * pixels.mean(1, keepdims=True) - 1024)).numpy()
    found = EmbeddingSession(backbone).embed(pixels)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("zipped", [True, False])
def test_network_saved_whole(tiny: Any, tmp_path: Path, rng: np.random.Generator, zipped: bool) -> None:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(tiny, tmp_path / "net.pt", _use_new_zipfile_serialization=zipped)
    backbone = load_backbone("xrv-densenet121", tmp_path / "net.pt")
    agree(backbone, tiny.features2, rng)
    assert backbone.levels == ("level1", "level2", "level3", "level4")


@pytest.mark.torch
@pytest.mark.slow
def test_state_dict(tiny: Any, tmp_path: Path, rng: np.random.Generator) -> None:
    from safetensors.torch import save_file

    save_file(tiny.state_dict(), tmp_path / "net.safetensors")
    agree(load_backbone("xrv-densenet121", tmp_path / "net.safetensors"), tiny.features2, rng)


@pytest.mark.torch
@pytest.mark.slow
def test_residual_network(xrv: Any, tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    import torchvision

    torch.manual_seed(0)
    network = torchvision.models.resnet50(num_classes=18, weights=None)
    network.conv1 = torch.nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
    network.eval()
    torch.save(network.state_dict(), tmp_path / "net.pt")
    monkeypatch.setitem(registry(), "xrv-resnet50", registry()["xrv-resnet50"] | {"input_size": 64})
    backbone = load_backbone("xrv-resnet50", tmp_path / "net.pt")
    assert backbone.dim == 2048
    network.fc = torch.nn.Identity()
    agree(backbone, network, rng)


@pytest.mark.torch
def test_other_architecture(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    torch.save(tiny.state_dict(), tmp_path / "net.pt")
    with pytest.raises(
        WeightsFileError, match="does not fit the architecture: features.conv0.weight 8x1x7x7 instead of"
    ):
        load_backbone("xrv:densenet121-res224-nih", tmp_path / "net.pt")


@pytest.mark.torch
def test_unknown_name(xrv: Any, tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="has no 'densenet'; it has .*densenet121-res224-all"):
        load_backbone("xrv:densenet", tmp_path / "net.pt")


@pytest.mark.torch
def test_registry_names_the_librarys_files(xrv: Any) -> None:
    for name in ("xrv-densenet121", "xrv-resnet50"):
        entry = registry()[name]
        known = xrv.models.model_urls[entry["architecture"]]
        assert known["weights_url"].rpartition("/")[2] in entry["file"]
        assert known["input_resolution"] == entry["input_size"]


@pytest.mark.torch
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("place", ["layer", "attribute"])
def test_pickled_code_is_not_run(tiny: Any, tmp_path: Path, place: str, zipped: bool) -> None:
    import torch

    class Attack:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            import os

            return os.mkdir, (str(tmp_path / "made"),)

    if place == "layer":
        tiny._modules["attack"] = Attack()
    else:
        tiny.attack = Attack()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(tiny, tmp_path / "net.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsFileError, match=r"net\.pt: .*\bmkdir") as caught:
        load_backbone("xrv-densenet121", tmp_path / "net.pt")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "made").exists()
