from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from tests.requirements import need

from msde.backbones import load_backbone
from msde.backbones.known import BUILT_IN, registry
from msde.backbones.registry import LOADERS, needs
from msde.errors import BackboneError

ALWAYS = {
    "about", "modality", "trained_on", "paper", "file_size", "loader", "input_size", "mean", "std", "channels",
    "pooling", "levels", "dim", "licence", "gated",
}  # fmt: skip
LICENCES = {"apache-2.0": "Apache-2.0", "bsd-3-clause": "BSD-3-Clause", "dinov3-license": "DINOv3 licence"}  # by timm
BUILT_IN_ONLY = {"extra", "graph", "package", "revision", "module", "weights", "sha256", "unused", "known"}
SOMETIMES = {"looks", "known", "architecture", "options", "prefix", "unused", "download", "file", "revision"}


@pytest.mark.parametrize("name", sorted(registry()))
def test_entries_are_complete(name: str) -> None:
    entry = registry()[name]
    if entry["loader"] == "builtin":
        assert set(entry) == ALWAYS | BUILT_IN_ONLY
    else:
        assert ALWAYS | {"file"} <= set(entry) <= ALWAYS | SOMETIMES
        assert entry["loader"] in LOADERS
        assert entry.get("download", "timm:").partition(":")[0] in LOADERS
    assert len(entry["mean"]) == len(entry["std"]) == 3
    assert min(entry["std"]) > 0
    assert entry["channels"] in (1, 3)
    assert entry["pooling"] in ("levels", "cls", "mean", "cls+mean", "projection")
    assert entry["levels"] == [f"level{number}" for number in range(1, len(entry["levels"]) + 1)]
    assert isinstance(entry["gated"], bool)
    assert ":" not in name


def test_names_for_downloading_are_distinct() -> None:
    downloads = [entry["download"] for entry in registry().values() if "download" in entry]
    assert len(downloads) == len(set(downloads))


def test_needs() -> None:
    assert needs(registry()[BUILT_IN]) == []
    assert needs(registry()["efficientnet_lite1"]) == ["pip install 'msde[lite1]'"]
    installs, file = needs(registry()["rad-dino"])
    assert installs == "pip install 'msde[hf]'"
    assert file.startswith("file: config.json, preprocessor_config.json and model.safetensors of microsoft/rad-dino")


@pytest.mark.torch
@pytest.mark.slow
def test_timm_agrees_with_the_registry() -> None:
    """Every architecture that timm is to build exists, and has the dimension that the registry says."""
    need("torch")
    import timm
    import torch

    from msde.backbones.timm_export import build, is_transformer, with_head

    entries = {name: entry for name, entry in registry().items() if entry["loader"] == "timm"}
    for name, entry in entries.items():
        if "architecture" not in entry:  # told by a file beside the weights
            continue
        with torch.device("meta"):
            network = build(name, entry["architecture"], entry)
            size = entry["input_size"]
            embedding, *further = with_head(network, entry["pooling"])(torch.zeros(1, 3, size, size))
        assert embedding.shape == (1, entry["dim"]), name
        assert sum(values.ndim == 4 for values in further) == len(entry["levels"]), name
        assert is_transformer(network) == ("looks" in entry), name
        if name == entry["architecture"]:
            known = timm.get_pretrained_cfg(name)
            assert known.hf_hub_id in entry["file"]
            assert (list(known.mean), list(known.std), known.input_size[1]) == (entry["mean"], entry["std"], size)
            assert LICENCES[known.license] == entry["licence"]
            megabytes = 4e-6 * sum(weights.numel() for weights in network.state_dict().values())
            assert megabytes == pytest.approx(size_told(entry), rel=0.1), name


def size_told(entry: dict[str, Any]) -> float:
    """Return how large the file to fetch is in MB."""
    number, unit = entry["file_size"].split()[:2]
    return float(number) * {"MB": 1, "GB": 1000}[unit]


@pytest.mark.torch
@pytest.mark.slow
def test_xrv_agrees_with_the_registry() -> None:
    need("torch", "xrv")
    from torchxrayvision.models import model_urls

    for entry in registry().values():
        if entry["loader"] == "xrv":
            known = model_urls[entry["architecture"]]
            assert known["input_resolution"] == entry["input_size"]
            assert known["weights_url"].rpartition("/")[2] in entry["file"]


@pytest.mark.torch
@pytest.mark.slow
def test_open_clip_agrees_with_the_registry() -> None:
    need("open_clip")
    import open_clip
    import torch

    from msde.backbones.open_clip_export import build, with_maps

    entry = registry()["mobileclip-s1"]
    architecture, _, tag = entry["architecture"].partition("/")
    model, prepared = open_clip.get_model_config(architecture), open_clip.get_pretrained_cfg(architecture, tag)
    assert (model["embed_dim"], model["vision_cfg"]["image_size"]) == (entry["dim"], entry["input_size"])
    assert (list(prepared["mean"]), list(prepared["std"])) == (entry["mean"], entry["std"])
    assert prepared["hf_hub"].strip("/") in entry["file"]
    with torch.device("meta"):
        images = torch.zeros(1, 3, entry["input_size"], entry["input_size"])
        embedding, *maps = with_maps(build("mobileclip-s1", model))(images)
    assert embedding.shape == (1, entry["dim"])
    assert len(maps) == len(entry["levels"])


def test_published_choice_is_known() -> None:
    assert registry()["resnet18.tv_in1k"]["dim"] == 512


@pytest.mark.parametrize("name", ["", "resnet", "timm:", "builtin:net", "http://net", "efficientnet_lite0 "])
def test_unknown_name_lists_the_known_ones(name: str) -> None:
    with pytest.raises(BackboneError, match="unknown backbone") as caught:
        load_backbone(name)
    assert all(known in str(caught.value) for known in (*registry(), "timm:NAME"))


def test_named_model_is_not_downloaded_unasked() -> None:
    code = """
import sys
from msde.backbones import load_backbone
from msde.errors import BackboneError
try:
    load_backbone("resnet18.tv_in1k")
except BackboneError as error:
    print(error, "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "say timm:resnet18.tv_in1k to download False" in done.stdout


@pytest.mark.parametrize(
    "name", sorted(set(registry()) - {"efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"})
)
def test_every_named_model_says_which_file_to_fetch(name: str) -> None:
    with pytest.raises(BackboneError) as caught:
        load_backbone(name)
    entry, message = registry()[name], str(caught.value)
    assert f"backbone {name} needs weights: fetch {entry['file']}" in message
    assert "as the checkpoint" in message
    assert entry.get("download", "as the checkpoint") in message
    assert ("accepted its terms" in message) == entry["gated"]
    assert "\n" not in message


def test_name_for_downloading_has_what_the_registry_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    from msde.backbones import transformers_export

    seen: list[Any] = []
    monkeypatch.setattr(transformers_export, "load", lambda *arguments: seen.append(arguments))
    load_backbone("hf:microsoft/rad-dino@1234")
    load_backbone("hf:microsoft/other", input_size=448)
    assert seen == [
        ("hf:microsoft/rad-dino@1234", "microsoft/rad-dino@1234", None, registry()["rad-dino"], None),
        ("hf:microsoft/other", "microsoft/other", None, {}, 448),
    ]
