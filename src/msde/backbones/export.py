"""Turn any torch network into a backbone: put its conversion of pixels in front, export it, check it. Needs torch."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from msde.backbones.backbone import CLASS_OUTPUT, Backbone, Triple, per_channel, triple
from msde.backbones.graph import rename, separate
from msde.backbones.parity import check_parity, noise
from msde.errors import BackboneError

if TYPE_CHECKING:
    import torch

OUTPUT = "output:"
OPSET = 18  # the lowest that torch's exporter writes


def require(name: str, extra: str, *modules: str) -> None:
    """Import the libraries that a loader needs.

    Raises BackboneError if one is not installed; names the extra that brings it.
    """
    try:
        for module in modules:
            import_module(module)
    except ImportError as error:
        raise BackboneError(
            f"backbone {name} needs {' and '.join(modules)}; install what is missing: pip install 'msde[{extra}]'"
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the libraries' warnings and log lines; what fails is raised."""
    previous = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)


def of_size(settings: Mapping[str, Any], size: int | None) -> dict[str, Any]:
    """Return a network's settings for images of another size than its own, if one is given."""
    return {**settings, "input_size": size or settings["input_size"], "own_size": settings["input_size"]}


def takes_none(name: str, size: int, own: int, error: Exception) -> BackboneError:
    """Return in one line that a network takes no images of a size, why, and which it takes."""
    line = f"backbone {name}: takes no images of {size}x{size} pixels: {first_line(error)}"
    return BackboneError(line if size == own else f"{line}; its own size is {own} px")


def export_torch(name: str, network: Any, settings: Mapping[str, Any], source: str) -> Backbone:
    """Make a backbone of a torch network and check it; `source` is what the weights came from.

    The network takes images as it was trained with, (n, channels, size, size), and returns a tuple of the embedding,
    (n, dim), any feature maps (n, c, h, w), finest first, and after them a class token (n, c) for each, or none.
    Settings are `input_size`; `mean` and `std` of RGB pixels in [0, 1]; `licence`; `channels`, 3 if left out, or 1 for
    a network of grey images, which is given the mean of the colours; `looks`, see `Backbone`; `own_size`, of the
    images that the network was made for, where it is another; and `dim`, checked if given.

    Raises BackboneError if the network takes no such images, gives no such embedding, cannot be exported, or its graph
    does not agree with torch in what it gives.
    """
    size, mean, std = int(settings["input_size"]), triple(settings["mean"]), triple(settings["std"])
    pixels = noise(size)
    with quiet():
        converted = with_conversion(network, mean, std, grey=settings.get("channels", 3) == 1)
        try:
            expected, *further = run_torch(converted, pixels)
        except Exception as error:  # whatever the network's own code raises
            raise takes_none(name, size, settings.get("own_size", size), error) from error
        if expected.ndim != 2 or expected.shape[1] != settings.get("dim", expected.shape[1]):
            raise BackboneError(
                f"backbone {name}: gives embeddings of shape {expected.shape[1:]}, not ({settings.get('dim', 'dim')},);"
                " the weights are of another network"
            )
        n_levels = sum(values.ndim == 4 for values in further)
        levels = tuple(f"level{number}" for number in range(1, n_levels + 1))
        class_tokens = [level + CLASS_OUTPUT for level in levels] if len(further) > n_levels else []
        outputs = ["embedding", *levels, *class_tokens]
        graph, weights = to_onnx(name, converted, size, outputs)
    backbone = Backbone(
        name=name,
        input_size=size,
        mean=mean,
        std=std,
        levels=levels,
        dim=expected.shape[1],
        licence=str(settings["licence"]),
        source=source,
        graph=graph,
        weights=weights,
        looks=tuple(settings.get("looks", ())),
    )
    check_parity(backbone, pixels, dict(zip(outputs, [expected, *further], strict=True)))
    return backbone


def with_conversion(network: Any, mean: Triple, std: Triple, grey: bool) -> Any:
    """Wrap a network, so that it takes RGB pixels in [0, 1]."""
    import torch

    class Converted(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = network
            self.register_buffer("pixel_mean", torch.from_numpy(per_channel(mean)))
            self.register_buffer("pixel_std", torch.from_numpy(per_channel(std)))

        def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
            normalised = (pixels - self.pixel_mean) / self.pixel_std
            return self.network(normalised.mean(1, keepdim=True) if grey else normalised)

    return Converted().eval().float()


def wrapped(network: Any, forward: Callable[[Any, torch.Tensor], tuple[torch.Tensor, ...]]) -> Any:
    """Make a torch module of what a function gives for a network and normalised images."""
    import torch

    class Wrapped(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return forward(self.network, images)

    return Wrapped()


def pooled(tokens: torch.Tensor, n_prefix: int, pooling: str) -> torch.Tensor:
    """Pool a transformer's tokens (n, prefix + patches, c): first the class token, if any, and registers."""
    import torch

    parts = {"cls": tokens[:, 0], "mean": tokens[:, n_prefix:].mean(1)}
    return torch.cat([parts[part] for part in pooling.split("+")], 1)


def check_pooling(name: str, pooling: str | None, has_class_token: bool) -> None:
    """Raise BackboneError if a class token is to be pooled that the network has not."""
    if pooling and "cls" in pooling.split("+") and not has_class_token:
        raise BackboneError(
            f"backbone {name}: is to be pooled as {pooling}, and the network has no class token; the description beside"
            " its weights is of another network"
        )


def run_torch(network: Any, pixels: np.ndarray) -> list[np.ndarray]:
    """Return what the network gives in torch."""
    import torch

    with torch.inference_mode():
        return [output.numpy() for output in network(torch.from_numpy(pixels))]


def to_onnx(name: str, network: Any, size: int, outputs: list[str]) -> tuple[bytes, dict[str, np.ndarray]]:
    """Export a network to ONNX; returns the graph without its weights, and the weights by name."""
    import torch

    try:
        program = torch.onnx.export(
            network,
            (torch.zeros(2, 3, size, size),),
            input_names=["pixels"],
            output_names=[OUTPUT + name for name in outputs],  # the exporter gives inner values such names too
            opset_version=OPSET,
            dynamic_shapes=({0: torch.export.Dim("n")},),
            dynamo=True,
            verbose=False,
        )
    except Exception as error:  # the exporter's errors have no narrower base
        raise BackboneError(f"backbone {name}: torch cannot export it to ONNX: {first_line(error)}") from error
    model = program.model_proto
    rename(model.graph, {name: f"inner.{name}" for name in outputs} | {OUTPUT + name: name for name in outputs})
    return separate(model)


def first_line(error: Exception) -> str:
    """Return the first line of an error's message."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
