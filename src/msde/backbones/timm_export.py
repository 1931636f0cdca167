"""Turn a timm model into a backbone: build it, load its weights, export it, check it. Needs torch."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from msde.backbones.backbone import Backbone, Triple, per_channel, triple
from msde.backbones.session import EmbeddingSession
from msde.errors import BackboneError, WeightsFileError

if TYPE_CHECKING:
    import onnx
    import torch

OPSET = 18  # the lowest that torch's exporter writes
PARITY = 1e-4  # largest difference from torch, relative to the largest value
HUB = "hf-hub:"
SETTINGS = ("input_size", "mean", "std", "licence")  # what the registry says of a model counts
SHOWN = 3  # differing tensors named in an error
CONTAINER_KEYS = ("state_dict", "model", "teacher")  # where checkpoints keep the tensors, if not at the top


def export_timm(name: str, architecture: str, checkpoint: Path | None, entry: Mapping[str, Any]) -> Backbone:
    """Export a timm model to a backbone whose embedding is the model's pooled feature vector.

    For a convolutional network that is the global mean of the last feature map, for a transformer the
    pooling it was trained with.

    Parameters
    ----------
    name : str
        What to call the backbone.
    architecture : str
        timm's name of the model, or ``hf-hub:ORG/NAME@REVISION``.
    checkpoint : Path or None
        A local file of weights. None downloads timm's own.
    entry : mapping
        What the registry knows of it, such as `licence`, `mean` and `std`; the rest is asked of timm.

    Returns
    -------
    Backbone

    Raises
    ------
    BackboneError
        If torch is not installed, timm does not know the model, its weights cannot be had or do not
        fit, or the exported graph does not agree with torch.
    """
    with quiet():
        network = create(name, architecture, checkpoint)
        settings = timm_settings(network)
        if checkpoint is not None:
            settings["licence"] = "unknown: that of the local checkpoint"
        settings |= {key: entry[key] for key in SETTINGS if key in entry}
        size, mean, std = int(settings["input_size"]), triple(settings["mean"]), triple(settings["std"])
        network = with_normalisation(network, mean, std)
        pixels = np.random.default_rng(0).random((3, 3, size, size), np.float32)
        expected, *maps = run_torch(network, pixels)
        levels = ("level1",) if maps else ()
        graph, weights = export(name, network, size, ["embedding", *levels])
    backbone = Backbone(
        name=name,
        input_size=size,
        mean=mean,
        std=std,
        levels=levels,
        dim=expected.shape[1],
        licence=settings["licence"],
        source=f"timm {architecture}" + (f", weights of {checkpoint.name}" if checkpoint else ""),
        graph=graph,
        weights=weights,
    )
    check_parity(backbone, pixels, expected)
    return backbone


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the exporter's and the hub client's warnings and log lines; what fails is raised."""
    previous = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)


def create(name: str, architecture: str, checkpoint: Path | None) -> Any:
    """Build timm's model without its classifier and load its weights."""
    try:
        import onnxscript  # noqa: F401  (torch's exporter needs it)
        import timm
    except ImportError as error:
        raise BackboneError(f"backbone {name} needs torch and timm; install them: pip install 'msde[torch]'") from error
    if architecture.startswith(HUB):
        if checkpoint is not None:
            raise BackboneError(f"backbone {name}: with a checkpoint, name the architecture as timm:NAME")
        return download(name, architecture, architecture.removeprefix(HUB))
    try:
        known = timm.get_pretrained_cfg(architecture, allow_unregistered=False)
    except RuntimeError as error:
        raise BackboneError(f"backbone {name}: timm has no model {architecture!r}") from error
    if checkpoint is None:
        return download(name, architecture, known.hf_hub_id)
    network = timm.create_model(architecture, pretrained=False, num_classes=0)
    classifier = known.classifier or ()
    load_checkpoint(network, checkpoint, (classifier,) if isinstance(classifier, str) else tuple(classifier))
    return network.eval()


def download(name: str, architecture: str, repository: str) -> Any:
    """Build timm's model with the weights that timm downloads or finds in its cache."""
    import timm

    try:
        return timm.create_model(architecture, pretrained=True, num_classes=0).eval()
    except Exception as error:  # whatever the network, the hub's client or timm raises
        raise BackboneError(
            f"backbone {name}: its weights could not be downloaded ({type(error).__name__}); fetch model.safetensors "
            f"of {repository} from the Hugging Face hub and pass it as the checkpoint of timm:NAME"
        ) from error


def load_checkpoint(network: Any, checkpoint: Path, classifier: tuple[str, ...]) -> None:
    """Copy a checkpoint's tensors into the network; only its classifier may be left over."""
    import torch

    wanted = network.state_dict()
    found = {
        key: tensor
        for key, tensor in read_checkpoint(checkpoint).items()
        if not key.startswith(tuple(f"{layer}." for layer in classifier))
    }
    differing = [
        f"{key} (missing)" if key not in found else f"{key} {shape(found[key])} instead of {shape(tensor)}"
        for key, tensor in wanted.items()
        if key not in found or found[key].shape != tensor.shape
    ] + [f"{key} (not in the architecture)" for key in found if key not in wanted]
    if differing:
        more = f" and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
        raise WeightsFileError(f"{checkpoint}: does not fit the architecture: {', '.join(differing[:SHOWN])}{more}")
    if not all(torch.isfinite(tensor).all() for tensor in found.values()):
        raise WeightsFileError(f"{checkpoint}: holds values that are not finite; fetch or train it again")
    network.load_state_dict(found)


def shape(tensor: torch.Tensor) -> str:
    """Write a tensor's shape, such as 64x3x7x7."""
    return "x".join(map(str, tensor.shape)) or "scalar"


def read_checkpoint(checkpoint: Path) -> dict[str, torch.Tensor]:
    """Read a file of named tensors without executing anything it holds."""
    import torch
    from safetensors.torch import load_file

    try:
        if checkpoint.suffix == ".safetensors":
            tensors: Any = load_file(checkpoint)
        else:
            tensors = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsFileError(f"{checkpoint}: cannot be read: {error.strerror or first_line(error)}") from error
    except Exception as error:  # each library has its own errors for a damaged file or for pickled code
        raise WeightsFileError(f"{checkpoint}: is no file of weights, or damaged: {first_line(error)}") from error
    for key in CONTAINER_KEYS:
        if isinstance(tensors, dict) and isinstance(tensors.get(key), dict):
            tensors = tensors[key]
    if not isinstance(tensors, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in tensors.values()):
        raise WeightsFileError(f"{checkpoint}: holds no dictionary of tensors; save the model's state_dict()")
    return tensors


def first_line(error: Exception) -> str:
    """Return the first line of an error's message."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def timm_settings(network: Any) -> dict[str, Any]:
    """Ask timm what input a model was trained with, and for the licence of its weights."""
    from timm.data import resolve_model_data_config

    config = resolve_model_data_config(network)
    depth, height, width = config["input_size"]
    if depth != 3 or height != width:
        raise BackboneError(
            f"the model takes {depth} channels of {height}x{width} pixels; square RGB images are needed"
        )
    licence = network.pretrained_cfg.get("license") or "unknown"
    return {"input_size": height, "mean": config["mean"], "std": config["std"], "licence": licence}


def with_normalisation(network: Any, mean: Triple, std: Triple) -> Any:
    """Wrap a network: pixels in [0, 1] -> its pooled features and, if it has one, its last feature map."""
    import torch

    class Normalised(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = network
            self.register_buffer("pixel_mean", torch.from_numpy(per_channel(mean)))
            self.register_buffer("pixel_std", torch.from_numpy(per_channel(std)))

        def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
            features = self.network.forward_features((pixels - self.pixel_mean) / self.pixel_std)
            embedding = self.network.forward_head(features, pre_logits=True).flatten(1)
            is_map = features.ndim == 4 and getattr(self.network, "output_fmt", "NCHW") == "NCHW"
            return (embedding, features) if is_map else (embedding,)

    return Normalised().eval()


def run_torch(network: Any, pixels: np.ndarray) -> list[np.ndarray]:
    """Return what the network gives in torch."""
    import torch

    with torch.inference_mode():
        return [output.numpy() for output in network(torch.from_numpy(pixels))]


def export(name: str, network: Any, size: int, outputs: list[str]) -> tuple[bytes, dict[str, np.ndarray]]:
    """Export a network to ONNX; returns the graph without its weights, and the weights by name."""
    import torch

    try:
        program = torch.onnx.export(
            network,
            (torch.zeros(2, 3, size, size),),
            input_names=["pixels"],
            output_names=outputs,
            opset_version=OPSET,
            dynamic_shapes=({0: torch.export.Dim("n")},),
            dynamo=True,
            verbose=False,
        )
    except Exception as error:  # the exporter's errors have no narrower base
        raise BackboneError(f"backbone {name}: torch cannot export it to ONNX: {first_line(error)}") from error
    return separate(program.model_proto)


def separate(model: onnx.ModelProto) -> tuple[bytes, dict[str, np.ndarray]]:
    """Take the weights out of an ONNX model; small integers, such as shapes, stay in the graph."""
    from onnx import TensorProto, numpy_helper

    weights = {}
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or not tensor.dims:
            continue
        weights[tensor.name] = numpy_helper.to_array(tensor).copy()
        name, dims = tensor.name, list(tensor.dims)
        tensor.Clear()
        tensor.name, tensor.data_type, tensor.data_location = name, TensorProto.FLOAT, TensorProto.EXTERNAL
        tensor.dims.extend(dims)
        tensor.external_data.add(key="location", value="weights")
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")  # the exporter's notes: stack traces with the paths of this machine
        part.ClearField("doc_string")
    return model.SerializeToString(deterministic=True), weights


def check_parity(backbone: Backbone, pixels: np.ndarray, expected: np.ndarray) -> None:
    """Refuse a backbone whose embeddings differ from torch's."""
    difference = float(np.abs(EmbeddingSession(backbone).embed(pixels) - expected).max() / np.abs(expected).max())
    if not difference <= PARITY:
        raise BackboneError(
            f"backbone {backbone.name}: its ONNX graph differs from torch by {difference:.1e}, more than {PARITY:.0e}"
        )
