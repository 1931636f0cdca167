"""From a backbone's name to the backbone; the known ones are data, in ``registry.toml``."""

from __future__ import annotations

import dataclasses
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, Protocol

from msde.backbones.backbone import Backbone
from msde.backbones.known import BUILT_IN, Entry, registry
from msde.errors import BackboneError


class Load(Protocol):
    """Turns a name into a backbone."""

    def __call__(
        self, name: str, target: str, checkpoint: Path | None, entry: Entry, input_size: int | None = None
    ) -> Backbone:
        """Load a backbone.

        Parameters
        ----------
        name : str
            What to call it.
        target : str
            Its name without the scheme.
        checkpoint : Path or None
            A local file of weights, or a folder.
        entry : dict
            What the registry says of it; empty where it is not known.
        input_size : int, optional
            Side of its images in pixels, if not its own.

        Raises
        ------
        BackboneError
            If it cannot be had, or computes no images of this size.
        """


class Loader(NamedTuple):
    """What turns names of one scheme into backbones."""

    module: str  # has a function load, a `Load`; imported when it is used
    extra: str  # what has to be installed for it: pip install 'msde[EXTRA]'
    form: str  # of its names


LOADERS = {
    "timm": Loader("timm_export", "torch", "timm:NAME"),
    "hf-hub": Loader("timm_export", "torch", "hf-hub:ORG/NAME@REVISION"),
    "hf": Loader("transformers_export", "hf", "hf:ORG/NAME@REVISION or hf:FOLDER"),
    "open_clip": Loader("open_clip_export", "open_clip", "open_clip:NAME/TAG, open_clip:ORG/NAME or open_clip:FOLDER"),
    "xrv": Loader("xrv_export", "xrv", "xrv:NAME"),
    "onnx": Loader("onnx_file", "onnx", "onnx:FILE"),
    "file": Loader("file_loader", "torch", "file:CHECKPOINT@ARCHITECTURE"),
}
LOCAL = ("onnx", "file")  # whose names are paths


def needs(entry: Entry) -> list[str]:
    """Return what has to be installed and fetched before a known backbone can be used.

    Such as ``["pip install 'msde[torch]'", "file: model.safetensors ..."]``; empty if nothing.
    """
    extra = entry["extra"] if entry["loader"] == "builtin" else LOADERS[entry["loader"]].extra
    installs = [f"pip install 'msde[{extra}]'"] if extra else []
    return installs + ([f"file: {entry['file']}"] if "file" in entry else [])


def load_backbone(
    name: str = BUILT_IN, checkpoint: str | Path | None = None, input_size: int | None = None
) -> Backbone:
    """Load a backbone by name.

    Parameters
    ----------
    name : str
        A name in the registry, or one of these:

        ==========================  =======================================================================
        ``timm:NAME``               a model of timm
        ``hf-hub:ORG/NAME@REV``     a timm model in a repository of the Hugging Face hub
        ``hf:ORG/NAME@REV``         a vision model of transformers there; or in a local folder, ``hf:FOLDER``
        ``open_clip:NAME/TAG``      an image encoder of OpenCLIP; also ``open_clip:ORG/NAME``, a folder
        ``xrv:NAME``                a network of torchxrayvision
        ``onnx:FILE``               an ONNX graph with one input of images
        ``file:CHECKPOINT``         weights that say their architecture; others with ``@``, timm's name of it
        ==========================  =======================================================================

        A revision can be left out.
    checkpoint : str or Path, optional
        A local file of weights, or a folder with the weights and the files that describe the network.
        With it nothing is downloaded. Without it only names which begin with ``timm:``, ``hf-hub:``,
        ``hf:``, ``open_clip:`` or ``xrv:``, and are no local folder, may use the network.
    input_size : int, optional
        Side in pixels of the images that it is to look at, from 32 to 1,024, in place of its own. The position
        embeddings of a transformer are interpolated as its library does it; its feature maps follow the size.

    Returns
    -------
    Backbone

    Raises
    ------
    BackboneError
        If the name is not known, a library is missing, the weights cannot be had, they do not fit the
        architecture, or the network computes no images of this size; says which it computes.
    """
    if input_size is not None:
        from msde.backbones.input_size import check_range

        check_range(input_size)
    checkpoint = None if checkpoint is None else Path(checkpoint)
    scheme, colon, target = name.partition(":")
    if colon and target and scheme in LOADERS:
        downloads = {entry["download"]: entry for entry in registry().values() if "download" in entry}
        backbone = _load(scheme, name, target, checkpoint, downloads.get(name.partition("@")[0], {}), input_size)
        if scheme in LOCAL or Path(target).is_dir():  # model files tell the name, but not folders of this machine
            return dataclasses.replace(backbone, name=f"{scheme}:{Path(target).name}")
        return backbone
    entry = registry().get(name)
    if entry is None:
        raise BackboneError(
            f"unknown backbone {name!r}; known are {', '.join(sorted(registry()))}, and "
            + ", ".join(loader.form for loader in LOADERS.values())
        )
    if "file" in entry and checkpoint is None:
        otherwise = f", or say {entry['download']} to download" if "download" in entry else ""
        terms = " once you have accepted its terms" if entry["gated"] else ""
        raise BackboneError(
            f"backbone {name} needs weights: fetch {entry['file']}{terms}, "
            f"and pass it, or the folder of several files, as the checkpoint{otherwise}"
        )
    return _load(entry["loader"], name, entry.get("architecture", ""), checkpoint, entry, input_size)


def _load(
    scheme: str, name: str, target: str, checkpoint: Path | None, entry: Entry, input_size: int | None
) -> Backbone:
    module = LOADERS[scheme].module if scheme in LOADERS else scheme
    load: Load = import_module(f"msde.backbones.{module}").load
    return load(name, target, checkpoint, entry, input_size)
