"""Image encoders of OpenCLIP, from its own list, a folder or the Hugging Face hub. Needs torch and open_clip."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from msde.backbones import timm_export
from msde.backbones.backbone import LOCAL_LICENCE, MOST_LEVELS, OWN_LOOKS, Backbone
from msde.backbones.checkpoint import find_weights, fit_tensors, read_checkpoint, within
from msde.backbones.export import export_torch, first_line, of_size, quiet, require, wrapped
from msde.backbones.hub import failed_download, snapshot
from msde.backbones.input_size import check_patches
from msde.backbones.tokens import depths
from msde.errors import BackboneError

if TYPE_CHECKING:
    import torch

CONFIG = "open_clip_config.json"
WEIGHTS_NAMES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
VISUAL = "visual."  # the image encoder's tensors; the text encoder's are left
SETTINGS = ("input_size", "mean", "std", "licence", "dim", "looks")  # what the registry says of a model counts


def load(
    name: str, target: str, checkpoint: Path | None, entry: Mapping[str, Any], input_size: int | None = None
) -> Backbone:
    """Export an OpenCLIP image encoder; the embedding is the one compared with texts, of any length.

    The text encoder is neither built nor loaded. The target is ``NAME/TAG``, an architecture of OpenCLIP and one of its
    sets of weights; a local folder; a repository of the hub, ``ORG/NAME@REVISION``; or, with a checkpoint, the
    architecture alone or, if ``open_clip_config.json`` beside the checkpoint tells it, nothing. Otherwise as
    `msde.backbones.registry.Load`.
    """
    require(name, "open_clip", "torch", "open_clip", "onnxscript")
    with quiet():
        if checkpoint is None and Path(target).is_dir():
            checkpoint, target = Path(target), ""
        architecture, slash, tag = target.partition("/")
        if slash and architecture not in known():  # a repository
            architecture, tag = "", ""
        if checkpoint is not None:
            weights, source = find_weights(checkpoint, WEIGHTS_NAMES), f"open_clip, weights of {checkpoint.name}"
            model, settings = described(name, architecture, tag, weights.parent)
            settings["licence"] = LOCAL_LICENCE
        elif architecture:
            model, settings = described(name, architecture, tag, Path())
            weights, source = download(name, architecture, tag), f"open_clip {target}"
        else:
            folder = snapshot(name, target, (CONFIG,), WEIGHTS_NAMES)
            model, settings = described(name, "", "", folder)
            weights, source = find_weights(folder, WEIGHTS_NAMES), f"{target.partition('@')[0]} at {folder.name}"
        network = build(name, model)
        fit_tensors(network, within(read_checkpoint(weights), VISUAL), weights)
    settings["looks"] = OWN_LOOKS
    settings |= {key: entry[key] for key in SETTINGS if key in entry}
    if input_size not in (None, settings["input_size"]):
        resize(name, network, settings["input_size"], input_size)
    settings = of_size(settings, input_size)
    return export_torch(name, with_maps(network), settings, source)


def known() -> list[str]:
    """Return OpenCLIP's architectures."""
    import open_clip

    names: list[str] = open_clip.list_models()
    return names


def described(name: str, architecture: str, tag: str, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Find a model's description and its settings: by name, or in the folder of its weights."""
    import open_clip
    from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

    if architecture:
        model = open_clip.get_model_config(architecture) if architecture in known() else None
        prepared = open_clip.get_pretrained_cfg(architecture, tag) or {}
        if model is None or (tag and not prepared):
            tags = ", ".join(open_clip.list_pretrained_tags_by_model(architecture)) or "none: no such architecture"
            raise BackboneError(f"backbone {name}: OpenCLIP has no model {architecture}/{tag}; its tags are {tags}")
        model["quick_gelu"] = prepared.get("quick_gelu", model.get("quick_gelu", False))
    else:
        path = folder / CONFIG
        try:
            whole = json.loads(path.read_text(encoding="utf-8"))
            model, prepared = whole["model_cfg"], whole.get("preprocess_cfg", {})
        except FileNotFoundError as error:
            raise BackboneError(f"backbone {name}: {CONFIG} is missing in {folder}; fetch it too") from error
        except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise BackboneError(f"{path}: describes no model of OpenCLIP ({error!r}); fetch it again") from error
    try:
        settings = {
            "input_size": int(model["vision_cfg"]["image_size"]),
            "mean": prepared.get("mean") or OPENAI_DATASET_MEAN,
            "std": prepared.get("std") or OPENAI_DATASET_STD,
            "licence": "unknown: see the weights' repository",
        }
    except (KeyError, TypeError, ValueError) as error:
        raise BackboneError(f"backbone {name}: takes no square images ({error!r}); choose another model") from error
    return model, settings


def download(name: str, architecture: str, tag: str) -> Path:
    """Fetch weights that OpenCLIP knows by their tag, or find them in its cache."""
    import open_clip

    prepared = open_clip.get_pretrained_cfg(architecture, tag)
    if not prepared:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(architecture))
        raise BackboneError(
            f"backbone {name}: say which weights, open_clip:{architecture}/TAG, or pass a checkpoint; tags are {tags}"
        )
    repository, _, file = prepared.get("hf_hub", "").rpartition("/")
    if repository:
        names = (file,) if file else WEIGHTS_NAMES
        return find_weights(snapshot(name, repository, (), names), names)
    try:
        return Path(open_clip.download_pretrained(prepared))
    except Exception as error:  # whatever the network raises
        raise failed_download(name, f"{architecture}/{tag}", WEIGHTS_NAMES[0], error) from error


def build(name: str, model: Mapping[str, Any]) -> Any:
    """Build the image encoder alone: the text encoder may need a download of its own."""
    from open_clip.model import _build_vision_tower

    vision = {**model["vision_cfg"], "timm_model_pretrained": False}
    try:
        return _build_vision_tower(model["embed_dim"], vision, model.get("quick_gelu", False)).eval()
    except Exception as error:  # whatever OpenCLIP or timm raises on a description that is none
        raise BackboneError(f"backbone {name}: OpenCLIP cannot build it: {first_line(error)}") from error


def resize(name: str, network: Any, own: int, size: int) -> None:
    """Interpolate the positions of an image encoder for images of another size, as OpenCLIP and timm do it.

    Raises BackboneError if it is a ResNet of CLIP, whose attention pool has positions that OpenCLIP does not
    interpolate, or the size is no multiple of the side of a patch.
    """
    from open_clip.model import resize_pos_embed
    from torch.nn import Parameter

    if hasattr(network, "trunk"):
        timm_export.resize(name, network.trunk, size)
        return
    if not hasattr(network, "transformer"):
        raise BackboneError(
            f"backbone {name}: the positions of its attention pool are those of images of {own} px, and OpenCLIP"
            " interpolates none of them; leave the input size out"
        )
    check_patches(name, size, network.patch_size)
    key = f"{VISUAL}positional_embedding"
    tensors = {key: network.positional_embedding.data}
    network.grid_size = tuple(size // side for side in network.patch_size)
    resize_pos_embed(tensors, SimpleNamespace(visual=network))
    network.positional_embedding = Parameter(tensors[key], requires_grad=False)


def with_maps(network: Any) -> Any:
    """Wrap an image encoder: normalised images -> the embedding, its feature maps and any class token of each."""

    def forward(network: Any, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if hasattr(network, "trunk"):  # of timm
            features, maps = timm_export.features_and_maps(network.trunk, images)
            return network.head(network.trunk.forward_head(features)), *maps
        if not hasattr(network, "transformer"):
            found = network.forward_intermediates(images, indices=MOST_LEVELS)
            return found["image_features"], *found["image_intermediates"]
        found = network.forward_intermediates(
            images,
            indices=depths(len(network.transformer.resblocks)),
            normalize_intermediates=True,
            output_extra_tokens=True,
        )
        class_tokens = [prefix[:, 0] for prefix in found["image_intermediates_prefix"]]
        return found["image_features"], *found["image_intermediates"], *class_tokens

    return wrapped(network, forward)
