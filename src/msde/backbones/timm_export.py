"""Models of timm, by name or from the Hugging Face hub. Needs torch."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msde.backbones.backbone import LOCAL_LICENCE, MOST_LEVELS, OWN_LOOKS, Backbone
from msde.backbones.checkpoint import (
    WEIGHTS_NAMES,
    differences,
    find_weights,
    fit_tensors,
    read_checkpoint,
    within,
    without,
)
from msde.backbones.export import check_pooling, export_torch, first_line, of_size, pooled, quiet, require, wrapped
from msde.backbones.hub import failed_download, snapshot
from msde.backbones.input_size import check_patches
from msde.backbones.tokens import depths
from msde.errors import BackboneError

if TYPE_CHECKING:
    import torch

HUB = "hf-hub:"
CONFIG = "config.json"
CHUNK = re.compile(r"^blocks\.\d+\.(?=\d+\.)")  # DINOv2 saves the blocks of a network in training in chunks
# What the registry says of a model counts.
SETTINGS = ("input_size", "mean", "std", "channels", "licence", "dim", "looks")


def load(
    name: str, target: str, checkpoint: Path | None, entry: Mapping[str, Any], input_size: int | None = None
) -> Backbone:
    """Export a timm model to a backbone whose embedding is the model's pooled feature vector.

    For a convolutional network that is the global mean of the last feature map, for a transformer the pooling it was
    trained with, unless the entry says another. The target is timm's name of the model, a repository of the hub,
    ``ORG/NAME@REVISION``, where the name begins with ``hf-hub:``, or nothing, if ``config.json`` beside the checkpoint
    tells the architecture. What the entry does not say is asked of timm. Otherwise as `msde.backbones.registry.Load`.
    """
    require(name, "torch", "torch", "timm", "onnxscript")
    licence, source = {}, f"timm {target}".strip()
    with quiet():
        if name.startswith(HUB) and checkpoint is None:
            folder = snapshot(name, target, (CONFIG,), WEIGHTS_NAMES)
            source = f"{target.partition('@')[0]} at {folder.name}"
            network = from_files(name, entry.get("architecture", ""), folder, entry)
        elif checkpoint is None:
            network = download(name, target, entry)
        else:
            licence = {"licence": LOCAL_LICENCE}
            source += f", weights of {checkpoint.name}"
            architecture = entry.get("architecture", "") if name.startswith(HUB) else target
            network = from_files(name, architecture, checkpoint, entry)
        settings = timm_settings(name, network, entry) | licence
    if is_transformer(network):
        settings["looks"] = OWN_LOOKS
    settings |= {key: entry[key] for key in SETTINGS if key in entry}
    check_pooling(name, entry.get("pooling"), has_class_token(network))
    if input_size is not None:
        resize(name, network, input_size)
    settings = of_size(settings, input_size)
    return export_torch(name, with_head(network, entry.get("pooling")), settings, source)


def build(name: str, architecture: str, entry: Mapping[str, Any], pretrained: bool = False) -> Any:
    """Build timm's model without its classifier."""
    import timm

    options = dict(entry.get("options", {}))
    if "mlp_layer" in options:
        options["mlp_layer"] = getattr(timm.layers, options["mlp_layer"])
    if "channels" in entry:
        options["in_chans"] = entry["channels"]
    return timm.create_model(architecture, pretrained=pretrained, num_classes=0, **options).eval()


def registered(name: str, architecture: str) -> Any:
    """Return what timm knows of a model by its name."""
    import timm

    try:
        return timm.get_pretrained_cfg(architecture, allow_unregistered=False)
    except RuntimeError as error:
        raise BackboneError(f"backbone {name}: timm has no model {architecture!r}") from error


def download(name: str, architecture: str, entry: Mapping[str, Any]) -> Any:
    """Build timm's model with the weights that timm downloads or finds in its cache."""
    repository = registered(name, architecture).hf_hub_id
    try:
        return build(name, architecture, entry, pretrained=True)
    except Exception as error:  # whatever the network, the hub's client or timm raises
        raise failed_download(name, str(repository), WEIGHTS_NAMES[0], error) from error


def from_files(name: str, architecture: str, checkpoint: Path, entry: Mapping[str, Any]) -> Any:
    """Build a model, by name or as the folder of the checkpoint tells, and load the checkpoint into it."""
    weights = find_weights(checkpoint)
    if architecture:
        registered(name, architecture)
    elif not (weights.parent / CONFIG).is_file():
        raise BackboneError(f"backbone {name}: {CONFIG} is missing beside {weights}; fetch both into one folder")
    tensors = within(read_checkpoint(weights), entry.get("prefix", ""))  # before a large network is built for nothing
    if architecture:
        network = build(name, architecture, entry)
    else:
        try:
            network = build(name, f"local-dir:{weights.parent}", entry)
        except Exception as error:  # whatever timm raises on a file that does not describe a model
            raise BackboneError(
                f"{weights.parent / CONFIG}: describes no model of timm: {first_line(error)}; fetch it again"
            ) from error
    classifier = network.pretrained_cfg.get("classifier") or ()
    heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    tensors = without(tensors, [*entry.get("unused", ()), *(f"{head}.*" for head in heads)])
    fit_tensors(network, converted(network, tensors), weights)
    return network


def converted(network: Any, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Let timm convert the tensors from a form that it knows, such as that of the original authors."""
    convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if not any(CHUNK.match(name) for name in network.state_dict()):
        tensors = {CHUNK.sub("blocks.", name): tensor for name, tensor in tensors.items()}
    if convert is not None and differences(network.state_dict(), tensors):
        with contextlib.suppress(Exception):  # of no form that it knows: the tensors' names tell more
            kept = network.state_dict()
            return {
                name: tensor
                for name, tensor in convert(dict(tensors), network).items()
                if name in kept or not name.startswith("head.")
            }
    return tensors


def timm_settings(name: str, network: Any, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Read from timm what input a model was trained with, and for the licence of its weights."""
    from timm.data import resolve_model_data_config

    config = resolve_model_data_config(network)
    depth, height, width = config["input_size"]
    if depth not in (1, 3) or height != width:
        raise BackboneError(
            f"backbone {name}: takes {depth} channels of {height}x{width} pixels; square grey or RGB images are needed"
        )
    licence = network.pretrained_cfg.get("license") or "unknown"
    mean, std = (list(config[key]) * (3 // len(config[key])) for key in ("mean", "std"))  # one number of grey images
    return {"input_size": height, "mean": mean, "std": std, "channels": depth, "licence": licence}


def resize(name: str, network: Any, size: int) -> None:
    """Interpolate the positions of a timm model, if it has any, for images of another size, as timm does it.

    Networks of convolutions need nothing. Raises BackboneError if the size is no multiple of the side of a patch.
    """
    patch = getattr(getattr(network, "patch_embed", None), "patch_size", None)
    if patch is not None:
        check_patches(name, size, patch)
    if hasattr(network, "set_input_size"):
        with quiet():
            network.set_input_size(img_size=(size, size))


def with_head(network: Any, pooling: str | None) -> Any:
    """Wrap a timm model: normalised images -> its pooled features and, if it has any, its feature maps."""

    def forward(network: Any, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        features, maps = features_and_maps(network, images)
        if pooling is not None and features.ndim == 3:
            return pooled(features, network.num_prefix_tokens, pooling), *maps
        return network.forward_head(features, pre_logits=True).flatten(1), *maps

    return wrapped(network, forward)


def is_transformer(network: Any) -> bool:
    """Return whether all blocks of a timm model see the same grid of patches."""
    steps = {info["reduction"] for info in getattr(network, "feature_info", ())}
    return len(steps) == 1 and len(network.feature_info) > 1 and hasattr(network, "num_prefix_tokens")


def has_class_token(network: Any) -> bool:
    """Return whether the first of a timm model's tokens is that of the class, not of a register or a patch."""
    return getattr(network, "cls_token", None) is not None


def features_and_maps(network: Any, images: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return a timm model's features, its maps and a class token for each, if it has them, in one pass.

    The maps are those of the last four stages or, of a transformer, of four depths with the final norm, as DINOv2 takes
    them (Oquab et al., TMLR 2024, A.3).
    """
    if is_transformer(network):
        features, found = network.forward_intermediates(
            images, indices=depths(len(network.feature_info)), norm=True, return_prefix_tokens=True
        )
        maps = [level[0] if isinstance(level, tuple) else level for level in found]
        return features, maps + ([level[1][:, 0] for level in found] if has_class_token(network) else [])
    if len(getattr(network, "feature_info", ())) >= MOST_LEVELS and hasattr(network, "forward_intermediates"):
        features, maps = network.forward_intermediates(images, indices=MOST_LEVELS)
        if features.ndim == 4:
            return features, maps
    features = network.forward_features(images)
    is_map = features.ndim == 4 and getattr(network, "output_fmt", "NCHW") == "NCHW"
    return features, [features] if is_map else []
