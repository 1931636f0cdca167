"""Vision models of transformers, from a folder or the Hugging Face hub. Needs torch and transformers."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from functools import partial
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msde.backbones.backbone import LOCAL_LICENCE, MOST_LEVELS, OWN_LOOKS, Backbone, Triple, triple
from msde.backbones.checkpoint import WEIGHTS_NAMES, find_weights, read_checkpoint, refuse, shape
from msde.backbones.export import (
    check_pooling,
    export_torch,
    first_line,
    of_size,
    pooled,
    quiet,
    require,
    takes_none,
    wrapped,
)
from msde.backbones.hub import snapshot
from msde.backbones.input_size import check_patches
from msde.backbones.tokens import as_map, depths, final_norm, normalised
from msde.errors import BackboneError, WeightsFileError

if TYPE_CHECKING:
    import torch

CONFIG, PROCESSOR = "config.json", "preprocessor_config.json"
SETTINGS = ("licence", "dim", "looks")  # what the registry says of a model counts
POOLER = "pooler."
NUMBER = re.compile(r"\d+")
INTERPOLATE = "interpolate_pos_encoding"  # asks a model to, where it does not do so in any case


def load(
    name: str, target: str, checkpoint: Path | None, entry: Mapping[str, Any], input_size: int | None = None
) -> Backbone:
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
    settings = of_size(settings, input_size) | {"channels": channels(name, network)}
    with quiet():
        wrapper, is_transformer = with_maps(
            name, network, entry.get("pooling"), settings["input_size"], interpolate=input_size is not None
        )
    if is_transformer:
        settings = {"looks": OWN_LOOKS} | settings
    return export_torch(name, wrapper, settings, source)


def from_files(name: str, weights: Path) -> Any:
    """Build the model that ``config.json`` beside the weights tells, and load the weights into it."""
    import torch
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
            None,
            config=config,
            state_dict=tensors,
            dtype=torch.float32,  # whatever the description says they were trained in
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except Exception as error:  # as above
        raise WeightsFileError(f"{weights}: does not fit {CONFIG} beside it: {first_line(error)}") from error
    mismatched = {key: (found, wanted) for key, found, wanted in report["mismatched_keys"]}
    # What is left over is a head, unless it is of layers that the network has too; a pooler is not used.
    layers = {NUMBER.sub("*", key) for key in network.state_dict()}
    differing = [
        f"{key} (not in the architecture)"
        for key in sorted(report["unexpected_keys"])
        if layers.intersection((NUMBER.sub("*", key), NUMBER.sub("*", key.partition(".")[2])))
    ]
    for key in network.state_dict():
        if key in mismatched:
            found, wanted = mismatched[key]
            differing.append(f"{key} {shape(found)} instead of {shape(wanted)}")
        elif key in report["missing_keys"] and not key.startswith(POOLER):
            differing.append(f"{key} (missing)")
    refuse(weights, differing, tensors)
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
        mean, std = (colours(given[key]) for key in ("image_mean", "image_std"))
        found = {"input_size": int(size), "mean": mean, "std": std}
    except FileNotFoundError as error:
        raise BackboneError(f"backbone {name}: {PROCESSOR} is missing in {folder}; fetch it too") from error
    except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise BackboneError(f"{path}: says not how images are prepared ({error!r}); fetch it again") from error
    return found | known


def colours(values: Any) -> Triple:
    """Convert one number, or one a channel, to one a colour."""
    numbers = values if isinstance(values, list | tuple) else [values]
    return triple(list(numbers) * 3 if len(numbers) == 1 else numbers)


def side(height: int, width: int) -> int:
    """Return the side length of a square."""
    if height != width:
        raise ValueError(f"images of {height}x{width} pixels, not square ones")
    return height


def with_maps(name: str, network: Any, pooling: str | None, size: int, interpolate: bool = False) -> tuple[Any, bool]:
    """Wrap a model: normalised images -> its embedding, its feature maps and any class token of each.

    Positions are interpolated for images of another size if asked for; some models do so in any case. Also returns
    whether the maps are of a transformer's patches. Raises BackboneError if it takes no such images.
    """
    import torch

    patch = patch_of(network)
    if patch is not None:
        check_patches(name, size, patch)
    grid = (size // patch[0], size // patch[1]) if patch else (0, 0)
    try:
        with torch.inference_mode():
            images = torch.rand(1, channels(name, network), size, size)
            tokens = outputs(network, images, interpolate).last_hidden_state
            n_prefix = tokens.shape[1] - grid[0] * grid[1] if patch and tokens.ndim == 3 else -1
            run = partial(outputs, network, images, interpolate)
            norm = final_norm(run, network, tokens) if n_prefix >= 0 else None
    except Exception as error:  # whatever the network's own code raises
        raise takes_none(name, size, own_size(network) or size, error) from error

    if not reads_text(network):
        check_pooling(name, pooling, n_prefix > 0 or tokens.ndim == 4)

    def forward(network: Any, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = outputs(network, images, interpolate)
        last = found.last_hidden_state
        embedding = found.pooler_output if reads_text(network) else embedded(last, n_prefix, pooling)
        if n_prefix < 0:
            maps = found.hidden_states[1:] if last.ndim == 4 else getattr(found, "reshaped_hidden_states", None) or ()
            return embedding, *maps[-MOST_LEVELS:]
        blocks = found.hidden_states[1:]
        levels = [*(normalised(blocks[depth], norm) for depth in depths(len(blocks))[:-1]), last]
        class_tokens = [level[:, 0] for level in levels] if n_prefix else []
        return embedding, *(as_map(level, grid) for level in levels), *class_tokens

    return wrapped(network, forward), n_prefix >= 0


def outputs(network: Any, images: torch.Tensor, interpolate: bool = False) -> Any:
    """Run a model, or the vision part of one that reads text, whose pooled output is the embedding beside texts."""
    call = network.get_image_features if reads_text(network) else network
    options = {"output_hidden_states": True}
    known = signature(getattr(call, "forward", call)).parameters
    if interpolate and images.shape[-1] != own_size(network) and INTERPOLATE in known:
        options[INTERPOLATE] = True
    return call(pixel_values=images, **options)


def reads_text(network: Any) -> bool:
    """Return whether the model also reads text."""
    return hasattr(network, "get_image_features")


def vision_config(network: Any) -> Any:
    """Return what the model says of its vision part."""
    return getattr(network.config, "vision_config", network.config)


def own_size(network: Any) -> int | None:
    """Return the side in pixels of the images that a model has positions for; None where it does not tell."""
    size = getattr(vision_config(network), "image_size", None)
    return int(size[0] if isinstance(size, list | tuple) else size) if size else None


def embedded(last: torch.Tensor, n_prefix: int, pooling: str | None) -> torch.Tensor:
    """Pool what a model gives in the end: a map, or tokens, `n_prefix` of them before those of the patches."""
    if last.ndim == 4:
        return last.mean((2, 3))
    return pooled(last, n_prefix, pooling or "cls") if n_prefix > 0 else last.mean(1)


def patch_of(network: Any) -> tuple[int, int] | None:
    """Return height and width of a model's patches in pixels; None where it does not tell."""
    patch = getattr(vision_config(network), "patch_size", None)
    height, width = patch if isinstance(patch, list | tuple) and len(patch) == 2 else (patch, patch)
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def channels(name: str, network: Any) -> int:
    """Return how many channels a model's images have: 3, or 1 of grey ones; raise BackboneError if others."""
    n: int = getattr(vision_config(network), "num_channels", 3)
    if n not in (1, 3):
        raise BackboneError(f"backbone {name}: takes images of {n} channels; a network of grey or RGB images is needed")
    return n
