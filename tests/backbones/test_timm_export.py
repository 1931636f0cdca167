"""timm models with random weights, saved to disk in the formats that users have."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.requirements import need

from msde.backbones import Backbone, load_backbone, timm_export
from msde.backbones.checkpoint import SHOWN, differences
from msde.backbones.known import registry
from msde.backbones.session import EmbeddingSession
from msde.errors import BackboneError, WeightsFileError

Agrees = Callable[[Backbone, Callable[[Any], Any]], None]
CNN, TRANSFORMER = "test_resnet", "test_vit"  # timm's miniatures, at 160 pixels


def test_no_torch_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(BackboneError, match=r"pip install 'msde\[torch\]'"):
        load_backbone("resnet18.tv_in1k", tmp_path / "net.safetensors")


@pytest.fixture(scope="module")
def torch() -> Any:
    need("torch")
    import torch

    return torch


@pytest.fixture(scope="module")
def network(torch: Any) -> Any:
    import timm

    torch.manual_seed(0)
    network = timm.create_model(CNN, pretrained=False).eval()
    for name, values in network.named_buffers():  # batch norms that do something
        if name.endswith("running_mean"):
            values.normal_(0, 0.1)
    return network


@pytest.fixture(scope="module")
def checkpoint(network: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from safetensors.torch import save_file

    path = tmp_path_factory.mktemp("weights") / "net.safetensors"
    save_file(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def exported(checkpoint: Path) -> Backbone:
    return load_backbone(f"timm:{CNN}", checkpoint)


@pytest.mark.torch
@pytest.mark.slow
def test_embedding_is_the_global_mean_of_the_last_map(network: Any, exported: Backbone, agrees: Agrees) -> None:
    agrees(exported, lambda images: network.forward_features(images).mean((2, 3)))


@pytest.mark.torch
@pytest.mark.slow
def test_levels_are_the_maps_of_the_last_stages(
    torch: Any, network: Any, exported: Backbone, rng: np.random.Generator
) -> None:
    pixels = rng.random((2, 3, 160, 160), np.float32)
    mean, std = (np.array(values, np.float32).reshape(1, 3, 1, 1) for values in (exported.mean, exported.std))
    with torch.inference_mode():
        _, maps = network.forward_intermediates(torch.from_numpy((pixels - mean) / std), indices=4)
    found = EmbeddingSession(exported).run(pixels, exported.levels).values()
    for level, expected in zip(found, maps, strict=True):
        np.testing.assert_allclose(level, expected.numpy(), rtol=0, atol=1e-5 * np.abs(expected.numpy()).max())


@pytest.mark.torch
@pytest.mark.slow
def test_description(exported: Backbone) -> None:
    assert exported.name == f"timm:{CNN}"
    assert exported.source == f"timm {CNN}, weights of net.safetensors"
    assert (exported.input_size, exported.levels) == (160, ("level1", "level2", "level3", "level4"))
    assert "local checkpoint" in exported.licence
    assert Backbone.from_description(exported.describe(), exported.graph, exported.weights).sha256 == exported.sha256
    assert len(exported.graph) < 50_000
    assert str(Path(timm_export.__file__).parent).encode() not in exported.graph
    assert b"site-packages" not in exported.graph


@pytest.mark.torch
@pytest.mark.slow
def test_transformer(torch: Any, tmp_path: Path) -> None:
    import timm

    network = timm.create_model(TRANSFORMER, pretrained=False)
    torch.save(network.state_dict(), tmp_path / "net.pth")
    backbone = load_backbone(f"timm:{TRANSFORMER}", tmp_path / "net.pth")
    assert backbone.levels == ("level1", "level2", "level3", "level4")
    assert backbone.looks == ("plain:own",)
    assert backbone.dim == network.num_features


# timm's architectures of every kind, tiny: what stands before the patches, and how positions are told.
KINDS = {
    "vit": ("vit_tiny_patch16_224", {}, 1),
    "registers": ("vit_small_patch14_reg4_dinov2", {}, 5),
    "registers without class token": (
        "vit_tiny_patch16_224",
        {"class_token": False, "reg_tokens": 2, "global_pool": "avg"},
        None,
    ),
    "no prefix": ("vit_tiny_patch16_224", {"class_token": False, "global_pool": "avg"}, None),
    "distilled": ("deit_tiny_distilled_patch16_224", {}, 2),
    "eva02": ("eva02_tiny_patch14_224", {}, 1),
    "dinov3": ("vit_small_patch16_dinov3", {}, 5),
    "beit": ("beit_base_patch16_224", {}, 1),
}


def tiny(architecture: str, options: dict[str, Any], side: int) -> Any:
    """Build a transformer with random weights that do something."""
    import timm
    import torch

    torch.manual_seed(0)
    options = {"depth": 6, "embed_dim": 24, "num_heads": 2, "img_size": side} | options
    network = timm.create_model(architecture, pretrained=False, num_classes=0, **options).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "beit"])  # of which timm loads no other size
def test_positions_are_interpolated_for_another_size(torch: Any, kind: str) -> None:
    """As timm does it where it builds the network for that size and loads the same weights; the grid follows."""
    architecture, options, _ = KINDS[kind]
    patch = 14 if "patch14" in architecture else 16
    network, other = tiny(architecture, options, 4 * patch), tiny(architecture, options, 6 * patch)
    other.load_state_dict(timm_export.converted(other, network.state_dict()))
    images = torch.rand(2, 3, 6 * patch, 6 * patch)
    with pytest.raises(BackboneError, match=rf"of its patches of {patch} px; give an input size of {patch * 6} or"):
        timm_export.resize("net", network, 6 * patch + 1)
    timm_export.resize("net", network, 6 * patch)
    with torch.inference_mode():
        found, wanted = (timm_export.with_head(each, None)(images) for each in (network, other))
    for one, expected in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, expected, rtol=1e-4, atol=1e-5)
    assert found[1].shape[2:] == (6, 6)


@pytest.mark.torch
@pytest.mark.slow
def test_another_size_from_file_to_graph(torch: Any, tmp_path: Path, agrees: Agrees) -> None:
    import timm

    network = timm.create_model(TRANSFORMER, pretrained=False, num_classes=0).eval()
    torch.save(network.state_dict(), tmp_path / "net.pth")
    backbone = load_backbone(f"file:{tmp_path / 'net.pth'}@{TRANSFORMER}", input_size=96)
    assert backbone.input_size == 96
    network.set_input_size((96, 96))
    agrees(backbone, network)
    found = EmbeddingSession(backbone).run(np.zeros((1, 3, 96, 96), np.float32), ["level1"])
    assert found["level1"].shape[2:] == (6, 6)


@pytest.mark.torch
@pytest.mark.slow
def test_positions_of_one_size_alone_are_refused(torch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mixer, whose layers have a weight for each place."""
    import timm

    options = {"img_size": 64}
    network = timm.create_model("mixer_s32_224", pretrained=False, num_classes=0, **options)
    torch.save(network.state_dict(), tmp_path / "net.pth")
    entry = registry()["uni"] | {"architecture": "mixer_s32_224", "options": options, "input_size": 64, "dim": 512}
    monkeypatch.setitem(registry(), "uni", entry | {"pooling": "mean"})
    with pytest.raises(BackboneError, match="takes no images of 96x96 pixels: .*; its own size is 64 px"):
        load_backbone("uni", tmp_path / "net.pth", 96)


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_patches_at_four_depths_are_levels(torch: Any, kind: str) -> None:
    """The levels are timm's own intermediate tokens under the final norm, and so are the class tokens."""
    architecture, options, n_prefix = KINDS[kind]
    side = 56 if "patch14" in architecture else 64
    network = tiny(architecture, options, side)
    images = torch.rand(2, 3, side, side)
    with torch.inference_mode():
        embedding, *further = timm_export.with_head(network, None)(images)
        wanted = network.forward_intermediates(
            images,
            indices=[1, 2, 4, 5],
            norm=True,
            output_fmt="NLC",
            intermediates_only=True,
            return_prefix_tokens=True,
        )
        assert embedding.equal(network(images))
    assert len(further) == (8 if n_prefix else 4)
    for level, found in zip(wanted, further[:4], strict=True):
        patches = level[0] if isinstance(level, tuple) else level
        assert found.flatten(2).transpose(1, 2).equal(patches)
        assert found.shape[2] == found.shape[3]
    for (_, before), found in zip(wanted, further[4:], strict=bool(n_prefix)):
        assert before.shape[1] == n_prefix
        assert found.equal(before[:, 0])


@pytest.mark.torch
@pytest.mark.parametrize("architecture", ["swin_tiny_patch4_window7_224", "convnext_atto"])
def test_hierarchical_networks_give_the_maps_of_their_stages(torch: Any, architecture: str) -> None:
    import timm

    tiny = {"img_size": 64, "window_size": 2, "embed_dim": 12, "num_heads": (1, 2, 2, 4)}
    options = tiny if "swin" in architecture else {}
    network = timm.create_model(architecture, pretrained=False, num_classes=0, **options).eval()
    with torch.inference_mode():
        _, *maps = timm_export.with_head(network, None)(torch.zeros(1, 3, 64, 64))
    assert [values.shape[2] for values in maps] == [16, 8, 4, 2]
    assert not timm_export.is_transformer(network)


@pytest.mark.torch
@pytest.mark.slow
def test_published_choice_from_a_local_file(torch: Any, tmp_path: Path) -> None:
    import timm

    torch.save(timm.create_model("resnet18", pretrained=False).state_dict(), tmp_path / "resnet18.pth")
    backbone = load_backbone("resnet18.tv_in1k", tmp_path / "resnet18.pth")
    assert (backbone.dim, backbone.input_size, backbone.licence) == (512, 224, "BSD-3-Clause")
    assert backbone.mean == (0.485, 0.456, 0.406)


@pytest.mark.torch
@pytest.mark.slow
def test_mismatch_names_the_first_tensors(checkpoint: Path) -> None:
    with pytest.raises(WeightsFileError, match=r"net\.safetensors: does not fit.*conv1\.weight") as caught:
        load_backbone("timm:resnet18", checkpoint)
    assert str(caught.value).count("instead of") + str(caught.value).count("(missing)") == SHOWN
    assert "more" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.torch
@pytest.mark.parametrize("name", ["no_such_model", "resnet18.no_such_tag"])
@pytest.mark.parametrize("local", [False, True])
def test_unknown_model(torch: Any, tmp_path: Path, name: str, local: bool) -> None:
    with pytest.raises(BackboneError, match="timm has no model"):
        load_backbone(f"timm:{name}", tmp_path / "net.pth" if local else None)


@pytest.mark.torch
def test_hub_name_with_a_checkpoint_does_not_download(checkpoint: Path) -> None:
    with pytest.raises(BackboneError, match=r"config\.json is missing beside .*net\.safetensors"):
        load_backbone("hf-hub:timm/resnet18.tv_in1k", checkpoint)


@pytest.mark.torch
@pytest.mark.slow
def test_masked_autoencoder_as_its_training_script_saves_it(
    torch: Any, tmp_path: Path, agrees: Agrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its decoder, which is left, and the script's arguments, which are no tensors."""
    import timm

    network = timm.create_model(TRANSFORMER, pretrained=False, num_classes=0).eval()
    state = network.state_dict() | {"decoder_embed.weight": torch.ones(3), "mask_token": torch.ones(1)}
    saved = {"model": state, "args": argparse.Namespace(lr=1e-3), "epoch": 800}
    torch.save(saved, tmp_path / "mae.pth")
    entry = registry()["retfound-cfp"] | {"architecture": TRANSFORMER, "input_size": 160, "dim": network.num_features}
    monkeypatch.setitem(registry(), "retfound-cfp", entry)
    backbone = load_backbone("retfound-cfp", tmp_path / "mae.pth")
    assert backbone.licence == "CC-BY-NC-4.0"
    agrees(backbone, lambda images: network.forward_features(images)[:, 1:].mean(1))


@pytest.mark.torch
@pytest.mark.slow
def test_folder_as_of_the_hub(torch: Any, tmp_path: Path, agrees: Agrees, monkeypatch: pytest.MonkeyPatch) -> None:
    """The architecture stands in config.json, and arguments that it lacks in the registry."""
    import timm
    from safetensors.torch import save_file

    options = {"mlp_layer": "SwiGLUPacked", "act_layer": "silu"}
    network = timm.create_model(
        TRANSFORMER, num_classes=0, mlp_layer=timm.layers.SwiGLUPacked, act_layer="silu", reg_tokens=4
    ).eval()
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    described = {
        "architecture": TRANSFORMER,
        "num_classes": 0,
        "model_args": {"reg_tokens": 4, "img_size": 160},
        "pretrained_cfg": {},
    }
    (tmp_path / "config.json").write_text(json.dumps(described))
    entry = registry()["virchow2"] | {"input_size": 160, "dim": 2 * network.num_features}
    assert entry["options"] == options
    monkeypatch.setitem(registry(), "virchow2", entry)
    backbone = load_backbone("virchow2", tmp_path)

    def original(images: Any) -> Any:
        tokens = network.forward_features(images)
        return torch.cat([tokens[:, 0], tokens[:, 5:].mean(1)], 1)

    agrees(backbone, original)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BackboneError, match=r"config\.json: describes no model of timm"):
        load_backbone("virchow2", tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(BackboneError, match=r"config\.json is missing beside"):
        load_backbone("virchow2", tmp_path)


@pytest.mark.torch
@pytest.mark.slow
def test_part_of_a_larger_network(
    torch: Any, network: Any, tmp_path: Path, agrees: Agrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = {f"module.vision_model.model.{name}": values for name, values in network.state_dict().items()}
    torch.save(state | {"module.text_model.weight": torch.ones(3)}, tmp_path / "net.pth")
    entry = registry()["flair"] | {"architecture": CNN, "input_size": 160, "dim": network.num_features}
    monkeypatch.setitem(registry(), "flair", entry)
    backbone = load_backbone("flair", tmp_path / "net.pth")
    agrees(backbone, lambda images: network.forward_features(images).mean((2, 3)))


@pytest.mark.torch
def test_original_authors_names_are_converted(torch: Any) -> None:
    """A checkpoint of DINOv2 as published: a mask token, and positions of another image size."""
    import timm

    network = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=0, img_size=32)
    other = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=0, img_size=48)
    tensors = timm_export.converted(network, other.state_dict() | {"mask_token": torch.zeros(1)})
    assert differences(network.state_dict(), tensors) == []
    assert tensors["pos_embed"].shape == (1, 5, 192)


@pytest.mark.torch
@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("net.safetensors", b""),
        ("net.safetensors", b"\xff" * 100),
        ("net.pth", b""),
        ("net.pth", b"not a checkpoint"),
        ("net.pth", b"PK\x03\x04" + bytes(100)),
        ("net.pth", b"cos\nsystem\n(S'true'\ntR."),
    ],
)
def test_damaged_checkpoint(torch: Any, tmp_path: Path, file: str, content: bytes) -> None:
    (tmp_path / file).write_bytes(content)
    with pytest.raises(WeightsFileError, match=file) as caught:
        load_backbone(f"timm:{CNN}", tmp_path / file)
    assert "\n" not in str(caught.value)


@pytest.mark.torch
@pytest.mark.parametrize("file", ["net.safetensors", "net.pth"])
def test_missing_checkpoint(torch: Any, tmp_path: Path, file: str) -> None:
    with pytest.raises(WeightsFileError, match=f"{file}: cannot be read"):
        load_backbone(f"timm:{CNN}", tmp_path / file)


@pytest.mark.torch
@pytest.mark.parametrize("content", [[1, 2], {"weights": 3}])
def test_checkpoint_without_tensors(torch: Any, tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(WeightsFileError, match="state_dict"):
        load_backbone(f"timm:{CNN}", tmp_path / "net.pth")


@pytest.mark.torch
def test_pickled_code_is_not_run(torch: Any, tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            import os

            return os.mkdir, (str(tmp_path / "made"),)

    torch.save({"conv1.weight": Attack()}, tmp_path / "net.pth")
    with pytest.raises(WeightsFileError, match=r"net\.pth"):
        load_backbone(f"timm:{CNN}", tmp_path / "net.pth")
    assert not (tmp_path / "made").exists()


@pytest.mark.torch
def test_checkpoint_that_is_not_finite(torch: Any, network: Any, tmp_path: Path) -> None:
    state = {name: values.clone() for name, values in network.state_dict().items()}
    state["conv1.0.weight" if "conv1.0.weight" in state else "conv1.weight"].view(-1)[0] = float("nan")
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(WeightsFileError, match="not finite"):
        load_backbone(f"timm:{CNN}", tmp_path / "net.pth")


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("depth", [1, 3])
def test_weights_of_another_depth(torch: Any, tmp_path: Path, depth: int) -> None:
    options = {"depth": depth, "embed_dim": 24, "num_heads": 2}
    entry = {"options": options | {"depth": 2}}
    torch.save(
        timm_export.build("net", "vit_tiny_patch16_224", {"options": options}).state_dict(), tmp_path / "net.pth"
    )
    said = r"blocks\.1\.norm1\.weight \(missing\)" if depth == 1 else r"blocks\.2\.norm1\.weight \(not in the arch"
    with pytest.raises(WeightsFileError, match=said):
        timm_export.load("net", "vit_tiny_patch16_224", tmp_path / "net.pth", entry)


@pytest.mark.torch
@pytest.mark.slow
def test_weights_of_another_library(torch: Any, tmp_path: Path) -> None:
    need("transformers")
    import transformers

    config = transformers.ViTConfig(hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=96)
    torch.save(transformers.ViTModel(config).state_dict(), tmp_path / "net.pth")
    with pytest.raises(WeightsFileError, match="its names are those of transformers, its attention in three parts"):
        load_backbone("timm:vit_tiny_patch16_224", tmp_path / "net.pth")


@pytest.mark.torch
@pytest.mark.slow
def test_a_class_token_that_is_not_there_is_not_pooled(torch: Any, tmp_path: Path) -> None:
    """Otherwise a register or the first patch would take its place."""
    for registers in (0, 2):
        options: dict[str, Any] = {"depth": 2, "embed_dim": 24, "num_heads": 2, "img_size": 64}
        options |= {"class_token": False, "reg_tokens": registers, "global_pool": "avg"}
        network = timm_export.build("net", "vit_tiny_patch16_224", {"options": options})
        torch.save(network.state_dict(), tmp_path / "net.pth")
        with pytest.raises(BackboneError, match="is to be pooled as cls, and the network has no class token"):
            entry = {"options": options, "pooling": "cls", "input_size": 64}
            timm_export.load("net", "vit_tiny_patch16_224", tmp_path / "net.pth", entry)


@pytest.mark.torch
@pytest.mark.slow
def test_a_network_of_grey_images(torch: Any, tmp_path: Path, rng: np.random.Generator) -> None:
    """Told by the file beside the weights; it is given the mean of the colours."""
    options = {"depth": 2, "embed_dim": 24, "num_heads": 2, "img_size": 32, "in_chans": 1}
    network = timm_export.build("net", "vit_tiny_patch16_224", {"options": options})
    torch.save(network.state_dict(), tmp_path / "pytorch_model.bin")
    prepared = {"input_size": [1, 32, 32], "mean": [0.5], "std": [0.25]}
    described = {"architecture": "vit_tiny_patch16_224", "num_classes": 0, "model_args": options}
    (tmp_path / "config.json").write_text(json.dumps(described | {"pretrained_cfg": prepared}))
    backbone = load_backbone("hf-hub:hospital/grey", tmp_path)
    assert (backbone.mean, backbone.std, backbone.input_size) == ((0.5,) * 3, (0.25,) * 3, 32)
    pixels = rng.random((3, 3, 32, 32), np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy((pixels.mean(1, keepdims=True) - 0.5) / 0.25)).numpy()
    np.testing.assert_allclose(EmbeddingSession(backbone).embed(pixels), expected, atol=2e-5 * np.abs(expected).max())
