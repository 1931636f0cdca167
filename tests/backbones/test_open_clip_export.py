"""Image encoders of OpenCLIP with random weights, saved to disk as its repositories are."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.requirements import need

from msde.backbones import Backbone, load_backbone
from msde.backbones.known import registry
from msde.errors import BackboneError, WeightsFileError

Agrees = Callable[[Backbone, Callable[[Any], Any]], None]
TEXT = {"context_length": 8, "vocab_size": 50, "width": 16, "heads": 2, "layers": 1}
VISION: dict[str, dict[str, Any]] = {
    "transformer": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "residual": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 16},
    "timm": {"image_size": 160, "timm_model_name": "test_vit", "timm_pool": "", "timm_proj": "linear"},
}
PREPARED = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}


def test_no_open_clip_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(BackboneError, match=r"pip install 'msde\[open_clip\]'"):
        load_backbone("biomedclip", tmp_path)


@pytest.fixture(scope="module")
def open_clip() -> Any:
    need("torch", "open_clip")
    import open_clip

    return open_clip


def saved(folder: Path, kind: str, embed_dim: int = 24) -> Any:
    """Save a whole model, images and texts, in a folder as of the hub; returns it."""
    import torch
    from open_clip import CLIP, CustomTextCLIP
    from safetensors.torch import save_file

    torch.manual_seed(0)
    make = CustomTextCLIP if kind == "timm" else CLIP
    model = make(embed_dim, VISION[kind], TEXT).eval()
    described = {"model_cfg": {"embed_dim": embed_dim, "vision_cfg": VISION[kind], "text_cfg": TEXT}}
    (folder / "open_clip_config.json").write_text(json.dumps(described | {"preprocess_cfg": PREPARED}))
    save_file({name: t.contiguous() for name, t in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    return model


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("kind", list(VISION))
def test_embedding_is_that_of_images(open_clip: Any, tmp_path: Path, agrees: Agrees, kind: str) -> None:
    model = saved(tmp_path, kind)
    backbone = load_backbone(f"open_clip:{tmp_path}")
    assert (backbone.dim, backbone.mean) == (24, (0.1, 0.2, 0.3))
    assert backbone.levels == tuple(f"level{number}" for number in range(1, 1 + (2 if kind == "transformer" else 4)))
    assert backbone.looks == ("plain:own",)
    agrees(backbone, model.encode_image)


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["transformer", "timm"])
def test_positions_are_interpolated_for_another_size(open_clip: Any, tmp_path: Path, agrees: Agrees, kind: str) -> None:
    """As OpenCLIP does it for a model of that size, and timm for one of its own."""
    from open_clip import CLIP

    model, size = saved(tmp_path, kind), VISION[kind]["image_size"] * 3 // 2
    backbone = load_backbone(f"open_clip:{tmp_path}", input_size=size)
    assert backbone.input_size == size
    if kind == "timm":
        model.visual.set_input_size(size)
        agrees(backbone, model.encode_image)
    else:
        larger, tensors = CLIP(24, VISION[kind] | {"image_size": size}, TEXT).eval(), model.state_dict()
        open_clip.model.resize_pos_embed(tensors, larger)
        larger.load_state_dict(tensors)
        agrees(backbone, larger.encode_image)


@pytest.mark.torch
@pytest.mark.slow
def test_positions_of_one_size_alone_are_refused(open_clip: Any, tmp_path: Path) -> None:
    saved(tmp_path, "residual")
    with pytest.raises(BackboneError, match="attention pool are those of images of 32 px, .*leave the input size out"):
        load_backbone(f"open_clip:{tmp_path}", input_size=64)


@pytest.mark.torch
@pytest.mark.slow
def test_registry_name_with_a_folder_of_a_torch_file(
    open_clip: Any, tmp_path: Path, agrees: Agrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    model = saved(tmp_path, "transformer")
    torch.save(model.state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    (tmp_path / "open_clip_model.safetensors").unlink()
    entry = registry()["biomedclip"] | {"dim": 24, "input_size": 32}
    monkeypatch.setitem(registry(), "biomedclip", entry)
    backbone = load_backbone(entry["download"], tmp_path)  # with a checkpoint, nothing is downloaded
    assert backbone.sha256 == load_backbone("biomedclip", tmp_path).sha256
    assert backbone.licence == "MIT"
    agrees(backbone, model.encode_image)


@pytest.mark.torch
@pytest.mark.slow
def test_architecture_by_name(open_clip: Any, tmp_path: Path, agrees: Agrees, monkeypatch: pytest.MonkeyPatch) -> None:
    from open_clip import factory

    model = saved(tmp_path, "transformer")
    described = json.loads((tmp_path / "open_clip_config.json").read_text())["model_cfg"]
    monkeypatch.setitem(factory._MODEL_CONFIGS, "tiny", described)
    backbone = load_backbone("open_clip:tiny", tmp_path / "open_clip_model.safetensors")
    agrees(backbone, model.encode_image)
    assert backbone.mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))


@pytest.mark.slow
@pytest.mark.torch
def test_mismatch_names_the_first_tensors(open_clip: Any, tmp_path: Path) -> None:
    saved(tmp_path, "transformer")
    with pytest.raises(
        WeightsFileError, match=r"does not fit the architecture: class_embedding 32 instead of 768"
    ) as e:
        load_backbone("open_clip:ViT-B-32", tmp_path / "open_clip_model.safetensors")
    assert "\n" not in str(e.value)


@pytest.mark.torch
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("open_clip:no_such_net", "has no model no_such_net"),
        ("open_clip:ViT-B-32/no_such_tag", "has no model ViT-B-32/no_such_tag; its tags are openai"),
    ],
)
def test_unknown_model(open_clip: Any, tmp_path: Path, name: str, reason: str) -> None:
    saved(tmp_path, "transformer")
    with pytest.raises(BackboneError, match=reason):
        load_backbone(name, tmp_path / "open_clip_model.safetensors")


@pytest.mark.torch
def test_no_tag_lists_them(open_clip: Any) -> None:
    with pytest.raises(BackboneError, match="say which weights.*tags are openai"):
        load_backbone("open_clip:ViT-B-32")


@pytest.mark.torch
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "open_clip_config.json is missing in"),
        ("{}", "describes no model of OpenCLIP"),
        ("[", "describes no model of OpenCLIP"),
        ('{"model_cfg": {}}', "takes no square images"),
        ('{"model_cfg": {"vision_cfg": {"image_size": [3, 4]}}}', "takes no square images"),
        ('{"model_cfg": {"embed_dim": 8, "vision_cfg": {"image_size": 8, "no": 1}}}', "OpenCLIP cannot build it"),
    ],
)
def test_bad_description(open_clip: Any, tmp_path: Path, content: str | None, reason: str) -> None:
    saved(tmp_path, "transformer")
    path = tmp_path / "open_clip_config.json"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(BackboneError, match=reason) as caught:
        load_backbone(f"open_clip:{tmp_path}")
    assert "\n" not in str(caught.value)
