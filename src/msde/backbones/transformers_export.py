"""Vision models of transformers, from a folder or the Hugging Face hub. Needs torch and transformers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msde.backbones.backbone import LOCAL_LICENCE, Backbone, triple
from msde.backbones.checkpoint import WEIGHTS_NAMES, find_weights, read_checkpoint, refuse, shape
from msde.backbones.export import export_torch, first_line, pooled, quiet, require, wrapped
from msde.backbones.hub import snapshot
from msde.errors import BackboneError, WeightsFileError

if TYPE_CHECKING:
    import torch

CONFIG, PROCESSOR = "config.json", "preprocessor_config.json"
SETTINGS = ("licence", "dim")  # what the registry says of a model counts
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
    return export_torch(name, with_pooling(network, entry.get("pooling")), settings, source)


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


def with_pooling(network: Any, pooling: str | None) -> Any:
    """Wrap a model: normalised images -> the embedding and, if it computes one, the last feature map."""

    def forward(network: Any, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if hasattr(network, "get_image_features"):
            found = network.get_image_features(pixel_values=images)
            return (getattr(found, "pooler_output", found),)
        hidden = network(pixel_values=images).last_hidden_state
        if hidden.ndim == 4:
            return hidden.mean((2, 3)), hidden
        n_prefix = hidden.shape[1] - n_patches(network.config, images.shape[-1])
        if n_prefix < 1:  # no class token
            return (hidden.mean(1),)
        return (pooled(hidden, n_prefix, pooling or "cls"),)

    return wrapped(network, forward)


def n_patches(config: Any, size: int) -> int:
    """Return how many patches an image is cut into; more than any number of tokens if that is not known."""
    patch = getattr(config, "patch_size", None)
    return (size // patch) ** 2 if isinstance(patch, int) else size**2
