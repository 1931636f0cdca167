"""Files of named tensors: read without executing anything they hold, and fitted to a torch network. Needs torch."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import is_zipfile

from msde.backbones.export import first_line
from msde.backbones.legacy_torch import read_torch_file
from msde.backbones.shards import INDEX, check_whole, shards
from msde.errors import WeightsFileError

if TYPE_CHECKING:
    import torch

SHOWN = 3  # differing tensors named in an error
CONTAINER_KEYS = ("state_dict", "model", "teacher")  # where checkpoints keep the tensors, if not at the top
PARALLEL = "module."  # put before every name by torch's wrappers for several devices
WEIGHTS_NAMES = (
    "model.safetensors",
    f"model.safetensors{INDEX}",
    "pytorch_model.bin",
    f"pytorch_model.bin{INDEX}",
)
# Names of tensors that are of one library alone, and how its weights are loaded.
FORMS = {
    "*attention.query.weight": "transformers, its attention in three parts: load the folder as hf:FOLDER",
    "*attn.q_proj.weight": "transformers, its attention in three parts: load the folder as hf:FOLDER",
    "*attention.q_proj.weight": "transformers, its attention in three parts: load the folder as hf:FOLDER",
    "*transformer.resblocks.*": "OpenCLIP: load the folder as open_clip:FOLDER",
    "*blocks.*.attn.qkv.weight": "timm, its attention in one part, qkv: load it as timm:NAME",
    "*.self_attention.in_proj_weight": "torchvision: export the network as ONNX",
}

Tensors = dict[str, "torch.Tensor"]


def find_weights(checkpoint: Path, names: tuple[str, ...] = WEIGHTS_NAMES) -> Path:
    """Return the file of weights: the checkpoint itself, or the one in it, if it is a folder."""
    if not checkpoint.is_dir():
        return checkpoint
    for name in names:
        if (checkpoint / name).is_file():
            return checkpoint / name
    raise WeightsFileError(f"{checkpoint}: holds no file of weights; put {names[0]} there")


class TensorGroup:
    """Stands in for a layer of a network that was saved whole: has its attributes and no code."""


def read_checkpoint(checkpoint: Path, layers: Iterable[str] = ()) -> Tensors:
    """Read tensors by name from a file of safetensors or of torch.

    The latter is a dictionary of tensors, alone or within another dictionary, or a whole network of the classes in
    `layers`, such as ``torch.nn.modules.conv.Conv2d``: they are not used, `TensorGroup` stands in for them. Several
    files are named by their index. Numbers of 16 bits become float32, which changes none of them. Raises
    WeightsFileError if a file cannot be read, is damaged, or holds anything else.
    """
    if checkpoint.name.endswith(INDEX):
        return {name: tensor for shard in shards(checkpoint) for name, tensor in read_tensors(shard, layers).items()}
    check_whole(checkpoint)
    return read_tensors(checkpoint, layers)


def read_tensors(checkpoint: Path, layers: Iterable[str] = ()) -> Tensors:
    """Read one file, see `read_checkpoint`."""
    import torch
    from safetensors.torch import load_file

    try:
        if checkpoint.suffix == ".safetensors":
            tensors: Any = load_file(checkpoint)
        elif layers and checkpoint.exists() and not is_zipfile(checkpoint):  # torch refuses these, safe or not
            tensors = {name: torch.from_numpy(a) for name, a in read_torch_file(checkpoint, set(layers)).items()}
        else:
            # training scripts keep their arguments in a Namespace, which is plain data
            with torch.serialization.safe_globals([argparse.Namespace, *((TensorGroup, layer) for layer in layers)]):
                tensors = torch.load(checkpoint, map_location="cpu", weights_only=True)
        if isinstance(tensors, TensorGroup):
            tensors = dict(tensors_of(tensors))
    except WeightsFileError:
        raise
    except OSError as error:
        raise WeightsFileError(f"{checkpoint}: cannot be read: {error.strerror or first_line(error)}") from error
    except Exception as error:  # each library has its own errors for a damaged file or for pickled code
        pickled = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"its pickle asks for {pickled[1]}, which is no tensor" if pickled else first_line(error)
        reason = "its pickle is refused" if reason.startswith("Weights only load failed") else reason
        raise WeightsFileError(
            f"{checkpoint}: is no file of weights, or damaged: {reason}; save the model's state_dict()"
        ) from error
    for key in CONTAINER_KEYS:
        if isinstance(tensors, dict) and isinstance(tensors.get(key), dict):
            tensors = tensors[key]
    if not isinstance(tensors, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in tensors.values()):
        raise WeightsFileError(f"{checkpoint}: holds no dictionary of tensors; save the model's state_dict()")
    rough = (torch.bfloat16, torch.float16)
    tensors = {name: tensor.float() if tensor.dtype in rough else tensor for name, tensor in tensors.items()}
    return within(tensors, PARALLEL) if all(name.startswith(PARALLEL) for name in tensors) else tensors


def tensors_of(part: TensorGroup, prefix: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Walk through a network that was saved whole."""
    for group in ("_parameters", "_buffers"):
        for name, tensor in vars(part).get(group, {}).items():
            if tensor is not None:
                yield f"{prefix}{name}", tensor
    for name, child in vars(part).get("_modules", {}).items():
        yield from tensors_of(child, f"{prefix}{name}.")


def within(tensors: Tensors, prefix: str) -> Tensors:
    """Keep the tensors whose names begin with the prefix, and take it off."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def without(tensors: Tensors, patterns: Iterable[str]) -> Tensors:
    """Leave out the tensors whose names match one of the patterns."""
    patterns = list(patterns)
    return {name: t for name, t in tensors.items() if not any(fnmatchcase(name, pattern) for pattern in patterns)}


def differences(wanted: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]) -> list[str]:
    """Return how the tensors found differ from the wanted ones, in the network's order."""
    lines = []
    for name, tensor in wanted.items():
        if name not in found:
            lines.append(f"{name} (missing)")
        elif found[name].shape != tensor.shape:
            lines.append(
                f"{name} {shape(found[name].shape)} instead of {shape(tensor.shape)}{colours(found[name], tensor)}"
            )
    return lines + [f"{name} (not in the architecture)" for name in found if name not in wanted]


def colours(found: torch.Tensor, wanted: torch.Tensor) -> str:
    """Say so where a convolution of grey images meets one of colour images."""
    if found.ndim == wanted.ndim == 4 and {found.shape[1], wanted.shape[1]} == {1, 3}:
        return " (grey images, not RGB)" if found.shape[1] == 1 else " (RGB images, not grey)"
    return ""


def fit_tensors(network: Any, tensors: Tensors, checkpoint: Path) -> None:
    """Copy tensors into a network, to which they must fit name by name and shape by shape.

    Raises WeightsFileError if they do not, naming the first that differ; or if some are not finite.
    """
    import torch

    refuse(checkpoint, differences(network.state_dict(), tensors), tensors)
    if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
        raise WeightsFileError(f"{checkpoint}: holds values that are not finite; fetch or train it again")
    network.load_state_dict(tensors)


def refuse(checkpoint: Path, differing: list[str], names: Iterable[str]) -> None:
    """Raise WeightsFileError, naming the first tensors, if any of a checkpoint differ from its architecture.

    `names` are those of all of its tensors; where most of the architecture's are missing, they tell whose they are.
    """
    if not differing:
        return
    more = f" and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
    form = next((form for pattern, form in FORMS.items() if any(fnmatchcase(name, pattern) for name in names)), None)
    missing = sum(line.endswith("(missing)") for line in differing)
    whose = f"; its names are those of {form}" if form and missing > SHOWN else ""
    raise WeightsFileError(f"{checkpoint}: does not fit the architecture: {', '.join(differing[:SHOWN])}{more}{whose}")


def shape(sizes: Iterable[int]) -> str:
    """Write a tensor's shape, such as 64x3x7x7."""
    return "x".join(map(str, sizes)) or "scalar"
