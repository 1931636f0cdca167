"""Vision models of transformers, from a folder or the Hugging Face hub. Needs torch and transformers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msde.backbones.backbone import LOCAL_LICENCE, MOST_LEVELS, OWN_LOOKS, Backbone, triple
from msde.backbones.checkpoint import WEIGHTS_NAMES, find_weights, read_checkpoint, refuse, shape
from msde.backbones.export import export_torch, first_line, pooled, quiet, require, wrapped
from msde.backbones.hub import snapshot
from msde.backbones.tokens import as_map, depths, final_norm, normalised
from msde.errors import BackboneError, WeightsFileError

if TYPE_CHECKING:
    import torch

CONFIG, PROCESSOR = "config.json", "preprocessor_config.json"
SETTINGS = ("licence", "dim", "looks")  # what the registry says of a model counts
POOLER = "pooler."


def load(name: str, target: str, checkpoint: Path | None, entry: Mapping[str, Any]) -> Backbone:
    """Export a vision model of transformers, or the vision part of one that also reads text.

    The embedding of the latter is that of images beside texts. Of the others it is pooled as the entry says from the
    last hidden state: by default its class token, if it has one, or the mean. The target is a local folder, or a
    repository of the hub, ``ORG/NAME@REVISION``; the checkpoint a local folder with ``config.json``,
    ``preprocessor_config.json`` and the weights, or the file of weights in it. Otherwise as
    `msde.backbones.registry.Load`.
    """
    require(name, "hf", "torch", "transformers", "onnxscript")
    if checkpoint is None and Path(target).is_dir():
        checkpoint = Path(target)
    with quiet():
        if checkpoint is None:
            folder = snapshot(name, target, (CONFIG, PROCESSOR), WEIGHTS_NAMES)
            licence, source = "unknown: see the repository", f"{target.partition('@')[0]} at {folder.name}"
        else:
            folder = checkpoint
            licence, source = LOCAL_LICENCE, f"transformers, weights of {checkpoint.name}"
        weights = find_weights(folder)
        network = from_files(name, weights)
    settings = processing(name, weights.parent, entry) | {"licence": licence}
    settings |= {key: entry[key] for key in SETTINGS if key in entry}
    with quiet():
        wrapper, is_transformer = with_maps(name, network, entry.get("pooling"), settings["input_size"])
    if is_transformer:
        settings = {"looks": OWN_LOOKS} | settings
    return export_torch(name, wrapper, settings, source)


def from_files(name: str, weights: Path) -> Any:
    """Build the model that ``config.json`` beside the weights tells, and load the weights into it."""
    import transformers
    from transformers.utils import logging

    logging.disable_progress_bar()  # it would be drawn within ours
    described = weights.parent / CONFIG
    if not described.is_file():
        raise BackboneError(f"backbone {name}: {CONFIG} is missing beside {weights}; fetch both into one folder")
    try:
        config = transformers.AutoConfig.from_pretrained(weights.parent, local_files_only=True, trust_remote_code=False)
        kind = transformers.MODEL_MAPPING[type(config)]
    except Exception as error:  # transformers has no narrower base for what can be wrong in the file
        raise BackboneError(f"{described}: describes no model of transformers: {first_line(error)}") from error
    tensors = read_checkpoint(weights)
    try:
        network, report = kind.from_pretrained(
            None, config=config, state_dict=tensors, ignore_mismatched_sizes=True, output_loading_info=True
        )
    except Exception as error:  # as above
        raise WeightsFileError(f"{weights}: does not fit {CONFIG} beside it: {first_line(error)}") from error
    mismatched = {key: (found, wanted) for key, found, wanted in report["mismatched_keys"]}
    differing = []  # what is left over is a head; a pooler may be missing, because it is not used
    for key in network.state_dict():
        if key in mismatched:
            found, wanted = mismatched[key]
            differing.append(f"{key} {shape(found)} instead of {shape(wanted)}")
        elif key in report["missing_keys"] and not key.startswith(POOLER):
            differing.append(f"{key} (missing)")
    refuse(weights, differing)
    return network.eval()


def processing(name: str, folder: Path, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Read from ``preprocessor_config.json`` what images a model takes; the entry goes before it."""
    known = {key: entry[key] for key in ("input_size", "mean", "std") if key in entry}
    path = folder / PROCESSOR
    if len(known) == 3:
        return known
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        size = described["crop_size" if described.get("do_center_crop") else "size"]
        if isinstance(size, dict):
            size = size["shortest_edge"] if "shortest_edge" in size else side(size["height"], size["width"])
        if not math.isclose(described.get("rescale_factor", 1 / 255), 1 / 255, rel_tol=1e-3):
            raise ValueError("its images are not scaled to [0, 1] before they are normalised")
        unit = {"image_mean": [0.0, 0.0, 0.0], "image_std": [1.0, 1.0, 1.0]}
        given = described if described.get("do_normalize", True) else unit
        found = {"input_size": int(size), "mean": triple(given["image_mean"]), "std": triple(given["image_std"])}
    except FileNotFoundError as error:
        raise BackboneError(f"backbone {name}: {PROCESSOR} is missing in {folder}; fetch it too") from error
    except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise BackboneError(f"{path}: says not how images are prepared ({error!r}); fetch it again") from error
    return found | known


def side(height: int, width: int) -> int:
    """Return the side length of a square."""
    if height != width:
        raise ValueError(f"images of {height}x{width} pixels, not square ones")
    return height


def with_maps(name: str, network: Any, pooling: str | None, size: int) -> tuple[Any, bool]:
    """Wrap a model: normalised images -> its embedding, its feature maps and any class token of each.

    Also returns whether the maps are of a transformer's patches. Raises BackboneError if it takes no such images.
    """
    import torch

    channels = getattr(vision_config(network), "num_channels", 3)
    try:
        with torch.inference_mode():
            images = torch.rand(1, channels, size, size)
            tokens = outputs(network, images).last_hidden_state
            n_prefix = prefix(network, tokens, size)
            norm = None if n_prefix is None else final_norm(lambda: outputs(network, images), network, tokens)
    except Exception as error:  # whatever the network's own code raises
        raise BackboneError(f"backbone {name}: takes no images of {size}x{size} pixels: {first_line(error)}") from error

    def forward(network: Any, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = outputs(network, images)
        last = found.last_hidden_state
        embedding = found.pooler_output if reads_text(network) else embedded(last, n_prefix, pooling)
        if n_prefix is None:
            maps = found.hidden_states[1:] if last.ndim == 4 else getattr(found, "reshaped_hidden_states", None) or ()
            return embedding, *maps[-MOST_LEVELS:]
        blocks = found.hidden_states[1:]
        levels = [*(normalised(blocks[depth], norm) for depth in depths(len(blocks))[:-1]), last]
        class_tokens = [level[:, 0] for level in levels] if n_prefix else []
        return embedding, *(as_map(level, n_prefix) for level in levels), *class_tokens

    return wrapped(network, forward), n_prefix is not None


def outputs(network: Any, images: torch.Tensor) -> Any:
    """Run a model, or the vision part of one that reads text, whose pooled output is the embedding beside texts."""
    call = network.get_image_features if reads_text(network) else network
    return call(pixel_values=images, output_hidden_states=True)


def reads_text(network: Any) -> bool:
    """Return whether the model also reads text."""
    return hasattr(network, "get_image_features")


def vision_config(network: Any) -> Any:
    """Return what the model says of its vision part."""
    return getattr(network.config, "vision_config", network.config)


def embedded(last: torch.Tensor, n_prefix: int | None, pooling: str | None) -> torch.Tensor:
    """Pool what a model gives in the end: a map, or tokens."""
    if last.ndim == 4:
        return last.mean((2, 3))
    return pooled(last, n_prefix, pooling or "cls") if n_prefix else last.mean(1)


def prefix(network: Any, tokens: torch.Tensor, size: int) -> int | None:
    """Return how many tokens stand before those of the patches; None where that is not known, or there are none."""
    patch = getattr(vision_config(network), "patch_size", None)
    n_prefix = tokens.shape[1] - (size // patch) ** 2 if isinstance(patch, int) and tokens.ndim == 3 else -1
    return n_prefix if n_prefix >= 0 else None
