"""Vision models of transformers with random weights, saved to disk as transformers saves them."""

from __future__ import annotations

import json
import logging
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
from msde.backbones.transformers_export import with_maps
from msde.errors import BackboneError, WeightsFileError

Agrees = Callable[[Backbone, Callable[[Any], Any]], None]
TOKENS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
PROCESSOR = {
    "do_center_crop": True,
    "crop_size": {"height": 56, "width": 56},
    "size": {"shortest_edge": 64},
    "image_mean": [0.1, 0.2, 0.3],
    "image_std": [0.4, 0.5, 0.6],
    "rescale_factor": 1 / 255,
}


def test_no_transformers_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(BackboneError, match=r"pip install 'msde\[hf\]'"):
        load_backbone("rad-dino", tmp_path)


@pytest.fixture(scope="module")
def transformers() -> Iterator[Any]:
    need("torch", "transformers")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import transformers

        yield transformers


def saved(folder: Path, network: Any, processor: dict[str, Any] | None = None) -> Any:
    """Save a network with random weights and the description of its images; returns it."""
    import torch

    torch.manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    network.eval().save_pretrained(folder)
    logging.disable(level)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR | (processor or {})))
    return network


@pytest.fixture(scope="module")
def dino(transformers: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("dino")
    network = transformers.Dinov2Model(transformers.Dinov2Config(**TOKENS, image_size=56, patch_size=14))
    return folder, saved(folder, network)


@pytest.mark.torch
@pytest.mark.slow
def test_class_token(dino: tuple[Path, Any], agrees: Agrees) -> None:
    folder, network = dino
    backbone = load_backbone(f"hf:{folder}")
    assert (backbone.input_size, backbone.mean, backbone.std) == (56, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert "local checkpoint" in backbone.licence
    assert backbone.name == f"hf:{folder.name}"
    assert str(folder.parent) not in str(backbone.describe())
    agrees(backbone, lambda images: network(images).last_hidden_state[:, 0])


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["mean", "cls+mean"])
def test_registry_says_how_to_pool(
    dino: tuple[Path, Any], agrees: Agrees, pooling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    folder, network = dino
    entry = registry()["rad-dino"] | {"pooling": pooling, "input_size": 42, "dim": 32 if pooling == "mean" else 64}
    monkeypatch.setitem(registry(), "rad-dino", entry)  # at 42 pixels the network interpolates its positions
    backbone = load_backbone("rad-dino", folder / "model.safetensors")
    assert (backbone.input_size, backbone.mean[0], backbone.licence) == (42, 0.5307, "MIT")

    def original(images: Any) -> Any:
        tokens = network(images).last_hidden_state
        mean = tokens[:, 1:].mean(1)
        return mean if pooling == "mean" else torch.cat([tokens[:, 0], mean], 1)

    agrees(backbone, original)


@pytest.mark.torch
@pytest.mark.slow
def test_classifier_is_left_and_pooler_not_missed(transformers: Any, tmp_path: Path, agrees: Agrees) -> None:
    config = transformers.ViTConfig(**TOKENS, image_size=56, patch_size=8)
    network = saved(tmp_path, transformers.ViTForImageClassification(config))
    agrees(load_backbone(f"hf:{tmp_path}"), lambda images: network.vit(images).last_hidden_state[:, 0])


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("family", ["CLIP", "Siglip"])
def test_image_embedding_of_a_model_that_reads_text(
    transformers: Any, tmp_path: Path, agrees: Agrees, family: str
) -> None:
    text = TOKENS | {"vocab_size": 50, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    vision = TOKENS | {"image_size": 32, "patch_size": 8}
    config = getattr(transformers, f"{family}Config")(text_config=text, vision_config=vision)
    network = saved(tmp_path, getattr(transformers, f"{family}Model")(config), {"do_center_crop": False, "size": 32})
    backbone = load_backbone(f"hf:{tmp_path}")
    agrees(backbone, lambda images: network.get_image_features(pixel_values=images).pooler_output)
    assert not any("text" in name for name in backbone.weights)


@pytest.mark.torch
@pytest.mark.slow
def test_convolutional_network(transformers: Any, tmp_path: Path, agrees: Agrees) -> None:
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    network = saved(tmp_path, transformers.ResNetModel(config))
    backbone = load_backbone(f"hf:{tmp_path}")
    agrees(backbone, lambda images: network(images).last_hidden_state.mean((2, 3)))
    assert backbone.levels == ("level1", "level2")
    assert backbone.looks == ()


TEXT = TOKENS | {"vocab_size": 50, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
DEEP = TOKENS | {"num_hidden_layers": 6}
PATCHES = {"image_size": 56, "patch_size": 14}
# Family: how many tokens stand before the patches, and the layer that makes the last tokens of the last block's.
FAMILIES = {
    "Dinov2": (1, "layernorm"),
    "Dinov2WithRegisters": (5, "layernorm"),
    "DINOv3ViT": (5, "norm"),
    "ViT": (1, "layernorm"),
    "Beit": (1, None),
    "CLIP": (1, None),
    "Siglip": (0, "vision_model.post_layernorm"),
}


def of_family(transformers: Any, family: str) -> Any:
    """Build a model of 56 pixels with random weights that do something."""
    import torch

    config = getattr(transformers, f"{family}Config")
    extra = {"num_register_tokens": 4} if family in ("Dinov2WithRegisters", "DINOv3ViT") else {}
    if family in ("CLIP", "Siglip"):
        network = getattr(transformers, f"{family}Model")(config(text_config=TEXT, vision_config=DEEP | PATCHES))
    else:
        network = getattr(transformers, f"{family}Model")(config(**DEEP, **PATCHES, **extra))
    torch.manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network.eval()


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_positions_are_interpolated_for_another_size(transformers: Any, family: str) -> None:
    """As transformers does it; the grid follows. What needs to be asked for it is not asked unasked."""
    import torch

    network = of_family(transformers, family)
    wrapper, _ = with_maps("net", network, None, 84, interpolate=True)
    asked = family in ("ViT", "CLIP", "Siglip")
    with torch.inference_mode():
        images = torch.rand(2, 3, 84, 84)
        _, *further = wrapper(images)
        vision = getattr(network, "vision_model", network)
        wanted = vision(pixel_values=images, **({"interpolate_pos_encoding": True} if asked else {}))
    n_prefix, last = FAMILIES[family][0], further[3]
    patches = wanted.last_hidden_state[:, n_prefix:]
    torch.testing.assert_close(last.flatten(2).transpose(1, 2), patches, rtol=1e-5, atol=1e-5)
    assert last.shape[2:] == (6, 6)
    if asked:
        with pytest.raises(BackboneError, match="takes no images of 84x84 pixels: .*; its own size is 56 px"):
            with_maps("net", network, None, 84)
    with pytest.raises(BackboneError, match="of its patches of 14 px; give an input size of 70 or 84"):
        with_maps("net", network, None, 80, interpolate=True)


@pytest.mark.torch
@pytest.mark.slow
def test_another_size_from_folder_to_graph(transformers: Any, tmp_path: Path, agrees: Agrees) -> None:
    network = saved(tmp_path, transformers.ViTModel(transformers.ViTConfig(**TOKENS, image_size=56, patch_size=8)))
    backbone = load_backbone(f"hf:{tmp_path}", input_size=40)
    assert backbone.input_size == 40
    agrees(backbone, lambda images: network(images, interpolate_pos_encoding=True).last_hidden_state[:, 0])


@pytest.mark.torch
@pytest.mark.parametrize("family", FAMILIES)
def test_patches_at_four_depths_are_levels(transformers: Any, family: str) -> None:
    """The levels are the hidden states of the library under its own final norm, and so are the class tokens."""
    import torch

    n_prefix, norm = FAMILIES[family]
    network = of_family(transformers, family)
    images = torch.rand(2, 3, 56, 56)
    wrapper, is_transformer = with_maps("net", network, None, 56)
    assert is_transformer
    with torch.inference_mode():
        _, *further = wrapper(images)
        vision = getattr(network, "vision_model", network)
        found = vision(pixel_values=images, output_hidden_states=True)
        last_norm = torch.nn.Identity() if norm is None else network.get_submodule(norm)
        wanted = [*(last_norm(found.hidden_states[depth]) for depth in (2, 3, 5)), found.last_hidden_state]
    assert len(further) == (8 if n_prefix else 4)
    for tokens, level in zip(wanted, further[:4], strict=True):
        torch.testing.assert_close(level.flatten(2).transpose(1, 2), tokens[:, n_prefix:], rtol=1e-5, atol=1e-5)
        assert level.shape[2:] == (4, 4)
    for tokens, class_token in zip(wanted, further[4:], strict=n_prefix > 0):
        torch.testing.assert_close(class_token, tokens[:, 0], rtol=1e-5, atol=1e-5)


@pytest.mark.torch
@pytest.mark.slow
def test_torch_file_of_weights(dino: tuple[Path, Any], tmp_path: Path, agrees: Agrees) -> None:
    import torch

    folder, network = dino
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    torch.save(network.state_dict(), tmp_path / "pytorch_model.bin")
    agrees(load_backbone(f"hf:{tmp_path}"), lambda images: network(images).last_hidden_state[:, 0])


def copied(folder: Path, target: Path) -> Path:
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


@pytest.mark.torch
def test_other_network_than_the_registry_says(dino: tuple[Path, Any]) -> None:
    with pytest.raises(BackboneError, match=r"rad-dino: gives embeddings of shape \(32,\), not \(768,\)") as caught:
        load_backbone("rad-dino", dino[0])
    assert "\n" not in str(caught.value)


@pytest.mark.torch
def test_mismatch_names_the_first_tensors(dino: tuple[Path, Any], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = copied(dino[0], tmp_path)
    tensors = load_file(folder / "model.safetensors")
    del tensors["layernorm.weight"]
    tensors["embeddings.cls_token"] = tensors["embeddings.cls_token"][..., :16].contiguous()
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(WeightsFileError) as caught:
        load_backbone(f"hf:{folder}")
    assert str(caught.value) == (
        f"{folder / 'model.safetensors'}: does not fit the architecture: "
        "embeddings.cls_token 1x1x16 instead of 1x1x32, layernorm.weight (missing)"
    )


@pytest.mark.torch
@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("config.json", None, "config.json is missing beside"),
        ("config.json", b"{", "config.json: describes no model of transformers"),
        ("config.json", b'{"model_type": "no_such"}', "config.json: describes no model of transformers"),
        ("config.json", b'{"auto_map": {"AutoModel": "code.Net"}}', "config.json: describes no model of transformers"),
        ("preprocessor_config.json", None, "preprocessor_config.json is missing in"),
        ("preprocessor_config.json", b"[]", "says not how images are prepared"),
        ("preprocessor_config.json", b'{"size": {"height": 5, "width": 6}}', "5x6"),
        ("preprocessor_config.json", b'{"size": 5, "rescale_factor": 1}', "not scaled"),
        ("model.safetensors", None, "put model.safetensors there"),
        ("model.safetensors", b"\xff" * 99, "is no file of weights, or damaged"),
    ],
)
def test_bad_folder(dino: tuple[Path, Any], tmp_path: Path, file: str, content: bytes | None, reason: str) -> None:
    folder = copied(dino[0], tmp_path)
    (folder / file).unlink() if content is None else (folder / file).write_bytes(content)
    with pytest.raises(BackboneError, match=reason) as caught:
        load_backbone(f"hf:{folder}")
    assert "\n" not in str(caught.value)


@pytest.mark.torch
def test_model_of_text(transformers: Any, tmp_path: Path) -> None:
    saved(tmp_path, transformers.BertModel(transformers.BertConfig(**TOKENS, vocab_size=50)))
    with pytest.raises(BackboneError, match="takes no images") as caught:
        load_backbone(f"hf:{tmp_path}")
    assert "\n" not in str(caught.value)


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("classifier", [False, True])
def test_weights_of_another_depth(transformers: Any, tmp_path: Path, classifier: bool) -> None:
    """A deeper network would otherwise be cut off without a word; a head is left as before."""
    kind = transformers.ViTForImageClassification if classifier else transformers.ViTModel
    saved(tmp_path, kind(transformers.ViTConfig(**DEEP, image_size=56, patch_size=14)))
    path = tmp_path / "config.json"
    described = json.loads(path.read_text())
    for depth, said in ((5, r"5\..* \(not in the architecture\)"), (7, r"6\..* \(missing\)")):
        path.write_text(json.dumps(described | {"num_hidden_layers": depth}))
        with pytest.raises(WeightsFileError, match=f"does not fit the architecture: .*layers?.{said}"):
            load_backbone(f"hf:{tmp_path}")


@pytest.mark.torch
@pytest.mark.slow
def test_weights_of_another_library(dino: tuple[Path, Any], tmp_path: Path) -> None:
    import timm
    from safetensors.torch import save_file

    folder = copied(dino[0], tmp_path)
    network = timm.create_model("vit_small_patch14_dinov2", depth=2, embed_dim=32, num_heads=2, img_size=56)
    save_file(network.state_dict(), folder / "model.safetensors")
    with pytest.raises(WeightsFileError, match="its names are those of timm, its attention in one part, qkv"):
        load_backbone(f"hf:{folder}")


@pytest.mark.torch
@pytest.mark.slow
def test_bfloat16_in_several_files(transformers: Any, tmp_path: Path, agrees: Agrees) -> None:
    """As large models are saved: the same as those weights in float32."""
    import torch

    config = transformers.Dinov2Config(**TOKENS, image_size=56, patch_size=14)
    network = saved(tmp_path, transformers.Dinov2Model(config).to(torch.bfloat16)).float()
    (tmp_path / "model.safetensors").unlink()
    network.to(torch.bfloat16).save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    assert "bfloat16" in (tmp_path / "config.json").read_text()
    network.float()
    agrees(load_backbone(f"hf:{tmp_path}"), lambda images: network(images).last_hidden_state[:, 0])


@pytest.mark.torch
@pytest.mark.slow
def test_grey_images_and_patches_that_are_not_square(transformers: Any, tmp_path: Path) -> None:
    import torch

    config = transformers.ViTConfig(**TOKENS, image_size=32, patch_size=(16, 8), num_channels=1)
    prepared = {"do_center_crop": False, "size": 32, "image_mean": [0.5], "image_std": 0.25}
    network = saved(tmp_path, transformers.ViTModel(config), prepared)
    backbone = load_backbone(f"hf:{tmp_path}")
    assert backbone.mean == (0.5,) * 3
    pixels = np.random.default_rng(0).random((3, 3, 32, 32), np.float32)
    with torch.inference_mode():
        tokens = network(torch.from_numpy((pixels.mean(1, keepdims=True) - 0.5) / 0.25)).last_hidden_state.numpy()
    found = EmbeddingSession(backbone).run(pixels, ["embedding", "level2"])
    np.testing.assert_allclose(found["embedding"], tokens[:, 0], atol=2e-5 * np.abs(tokens).max())
    assert found["level2"].shape == (3, 32, 2, 4)
    patches = found["level2"].reshape(3, 32, -1).transpose(0, 2, 1)
    np.testing.assert_allclose(patches, tokens[:, 1:], atol=2e-5 * np.abs(tokens).max())


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize(
    ("crop", "said"),
    [
        (60, "images of 60 px are no whole number of its patches of 14 px; give an input size of 56 or 70"),
        (8, "images of 8 px are no whole number of its patches of 14 px; give an input size of 14"),
        (84, "takes no images of 84x84 pixels: .*; its own size is 56 px"),
    ],
)
def test_a_processor_of_another_network(transformers: Any, tmp_path: Path, crop: int, said: str) -> None:
    network = transformers.ViTModel(transformers.ViTConfig(**TOKENS, image_size=56, patch_size=14))
    saved(tmp_path, network, {"crop_size": crop})
    with pytest.raises(BackboneError, match=said) as caught:
        load_backbone(f"hf:{tmp_path}")
    assert "\n" not in str(caught.value)


@pytest.mark.torch
@pytest.mark.slow
def test_a_class_token_that_is_not_there_is_not_pooled(transformers: Any) -> None:
    network = transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**TOKENS, **PATCHES)).eval()
    with pytest.raises(BackboneError, match=r"is to be pooled as cls\+mean, and the network has no class token"):
        with_maps("net", network, "cls+mean", 56)
    assert with_maps("net", network, "mean", 56)[1]


@pytest.mark.torch
@pytest.mark.slow
def test_images_of_more_channels(transformers: Any, tmp_path: Path) -> None:
    config = transformers.ViTConfig(**TOKENS, image_size=56, patch_size=14, num_channels=4)
    saved(tmp_path, transformers.ViTModel(config))
    with pytest.raises(BackboneError, match="takes images of 4 channels; a network of grey or RGB images is needed"):
        load_backbone(f"hf:{tmp_path}")
