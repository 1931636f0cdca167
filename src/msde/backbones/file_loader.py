"""Files of weights that say, or are told, which architecture they are of. timm's need torch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from msde.backbones import builtin
from msde.backbones.backbone import LOCAL_LICENCE, Backbone, per_channel, triple
from msde.backbones.input_size import with_input_size
from msde.backbones.known import registry
from msde.errors import WeightsFileError

KEY = "msde_architecture"  # of a safetensors file's metadata: JSON
CHOICES: dict[str, list[Any]] = {"channels": [1, 3], "pooling": ["cls", "mean", "cls+mean"]}
TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4"}
PIXELS = ("pixel_mean", "pixel_std")  # a built-in graph's weights which are no tensors of the network


def load(
    name: str, target: str, checkpoint: Path | None, entry: Mapping[str, Any], input_size: int | None = None
) -> Backbone:
    """Make a backbone of a checkpoint: of a built-in graph, without torch, or of an architecture of timm.

    The target is a safetensors file whose metadata has the key ``msde_architecture``: JSON with `builtin`, the name of
    a built-in backbone whose weights the file has in its tensors' names, or `timm`, timm's name of the architecture;
    `input_size`, `mean`, `std`, and if need be `channels`, `pooling`, `licence`, `img_size`, the size of its positions,
    and `registry`, the entry of the registry that has its options. Or it is ``FILE@ARCHITECTURE``, a file of weights
    and timm's name.

    Takes no checkpoint, because the target is one. Raises BackboneError if the file does not say its architecture or
    does not fit it, or as :func:`msde.backbones.timm_export.load`.
    """
    if checkpoint is not None:
        raise WeightsFileError(f"backbone {name}: is itself a file of weights; leave the checkpoint {checkpoint} out")
    path, _, architecture = target.rpartition("@")
    if path and not Path(target).exists():
        return load_timm(name, architecture, Path(path), {}, input_size)
    known = architecture_of(Path(target))
    if "builtin" in known:
        return with_input_size(load_builtin(name, Path(target), known), input_size)
    return load_timm(name, known.pop("timm"), Path(target), known, input_size)


def options_of(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of timm that a file names: those of an entry of the registry, and the size of its positions.

    A file gives none itself, because they could make timm do anything.
    """
    options = dict(registry()[said["registry"]].get("options", {})) if "registry" in said else {}
    return options | ({"img_size": int(said["img_size"])} if "img_size" in said else {})


def load_timm(name: str, architecture: str, path: Path, known: Mapping[str, Any], input_size: int | None) -> Backbone:
    """Export the file's architecture of timm; torch is imported only here."""
    from msde.backbones import timm_export

    return timm_export.load(name, architecture, path, known, input_size)


def load_builtin(name: str, path: Path, known: Mapping[str, Any]) -> Backbone:
    """Give a built-in backbone's graph the file's weights.

    Raises WeightsFileError if the file's tensors are not those of the graph; names the first that differ.
    """
    from safetensors import SafetensorError, deserialize

    entry = registry().get(known["builtin"], {})
    if entry.get("loader") != "builtin":
        raise WeightsFileError(f"{path}: is of {known['builtin']!r}, which is no built-in backbone; upgrade msde")
    if known["input_size"] != entry["input_size"]:
        raise WeightsFileError(f"{path}: is of {known['input_size']} pixels, its graph of {entry['input_size']}")
    backbone = builtin.load(name, "", None, entry)
    try:
        tensors: Any = deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
        found = {key: as_floats(**tensor) for key, tensor in tensors}
    except (OSError, KeyError, SafetensorError) as error:
        raise WeightsFileError(f"{path}: is damaged ({error}); write or fetch it again") from error
    wanted = {key: values for key, values in backbone.weights.items() if key not in PIXELS}
    described = {key: (values.shape, values.dtype) for key, values in found.items()}
    differing = [key for key in wanted if described.get(key) != (wanted[key].shape, wanted[key].dtype)]
    differing += [key for key in found if key not in wanted]
    if differing:
        raise WeightsFileError(f"{path}: does not fit {known['builtin']}: {', '.join(differing[:3])} differ")
    if not all(np.isfinite(values).all() for values in found.values()):
        raise WeightsFileError(f"{path}: holds values that are not finite; fetch or train it again")
    pixels = {"pixel_mean": per_channel(known["mean"]), "pixel_std": per_channel(known["std"])}
    return dataclasses.replace(
        backbone,
        mean=known["mean"],
        std=known["std"],
        licence=known.get("licence", LOCAL_LICENCE),
        source=f"{known['builtin']}, weights of {path.name}",
        weights=found | pixels,
    )


def as_floats(dtype: str, shape: list[int], data: bytes) -> np.ndarray:
    """Read a tensor of a safetensors file; floats of 16 bits become float32, bfloat16 among them, which NumPy lacks.

    Raises KeyError if it is of a type that no network's weights are of.
    """
    values = np.frombuffer(data, TYPES[dtype])
    if dtype == "BF16":  # the upper half of a float32
        values = (values.astype("<u4") << 16).view("<f4")
    return (values.astype(np.float32) if dtype in ("F16", "BF16") else values).reshape(shape)


def architecture_of(path: Path) -> dict[str, Any]:
    """Read and check what a safetensors file says of its architecture.

    Returns `builtin` or `timm`, `input_size`, `mean`, `std`, and of the others what the file says. Raises
    WeightsFileError if it cannot be read, or says nothing or nonsense.
    """
    from safetensors import SafetensorError, safe_open

    remedy = "name it as file:CHECKPOINT@ARCHITECTURE"
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except FileNotFoundError as error:
        raise WeightsFileError(f"{path}: no such file of weights; give one that exists") from error
    except (OSError, SafetensorError) as error:
        raise WeightsFileError(f"{path}: no file of safetensors ({error}); {remedy} if it is another kind") from error
    if KEY not in metadata:
        raise WeightsFileError(f"{path}: does not say its architecture; {remedy}, with timm's name")
    try:
        said = json.loads(metadata[KEY])
        kind = "builtin" if "builtin" in said else "timm"
        known = {
            kind: str(said[kind]),
            "input_size": int(said["input_size"]),
            "mean": triple(said["mean"]),
            "std": triple(said["std"]),
        }
        known |= {"licence": str(said["licence"])} if "licence" in said else {}
        known |= {"options": options_of(said)} if {"registry", "img_size"}.intersection(said) else {}
        known |= {key: choices[choices.index(said[key])] for key, choices in CHOICES.items() if key in said}
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsFileError(f"{path}: its {KEY} is incomplete ({error!r}); {remedy}") from error
    return known
