"""Networks of torchxrayvision for chest X-rays: one channel, in [-1024, 1024]. Needs torch and torchxrayvision."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msde.backbones.backbone import LOCAL_LICENCE, Backbone
from msde.backbones.checkpoint import fit_tensors, read_checkpoint, within, without
from msde.backbones.export import export_torch, of_size, quiet, require
from msde.errors import BackboneError

if TYPE_CHECKING:
    import torch

# (pixel - mean) / std takes [0, 1] to [-1024, 1024]
INPUT = {"mean": (0.5, 0.5, 0.5), "std": (1 / 2048, 1 / 2048, 1 / 2048), "channels": 1}
SETTINGS = ("input_size", "licence", "dim")  # what the registry says of a model counts
LAYERS = ("conv", "batchnorm", "activation", "pooling", "linear", "container")  # modules of torch.nn


def load(
    name: str, target: str, checkpoint: Path | None, entry: Mapping[str, Any], input_size: int | None = None
) -> Backbone:
    """Export a network of torchxrayvision; the embedding is what its classifier sees.

    The target is torchxrayvision's name of the weights, such as ``densenet121-res224-all``, and a checkpoint a file of
    them as torchxrayvision keeps them. Otherwise as `msde.backbones.registry.Load`.
    """
    require(name, "xrv", "torch", "torchxrayvision", "onnxscript")
    from torchxrayvision.models import model_urls

    if target not in model_urls:
        raise BackboneError(f"backbone {name}: torchxrayvision has no {target!r}; it has {', '.join(model_urls)}")
    with quiet():
        residual = target.startswith("resnet")
        file = checkpoint or download(name, target)
        tensors = read_checkpoint(file, layers())
        if residual:
            network = resnet(target)
            tensors = within(tensors, "model." if "model.conv1.weight" in tensors else "")
            tensors = without(tensors, ["fc.*", "op_threshs"])
        else:
            network = densenet(entry.get("options", {}))
            tensors = {f"features.{key}": tensor for key, tensor in within(tensors, "features.").items()}
        fit_tensors(network, tensors, file)
    licence = "unknown: see torchxrayvision" if checkpoint is None else LOCAL_LICENCE
    settings = INPUT | {"input_size": model_urls[target]["input_resolution"], "licence": licence}
    settings |= {key: entry[key] for key in SETTINGS if key in entry}
    settings = of_size(settings, input_size)
    source = f"torchxrayvision {target}" + (f", weights of {checkpoint.name}" if checkpoint else "")
    return export_torch(name, network, settings, source)


def download(name: str, target: str) -> Path:
    """Let torchxrayvision fetch its weights, or find them in its cache."""
    from torchxrayvision.models import get_weights, model_urls

    try:
        with contextlib.redirect_stdout(sys.stderr):  # it prints its progress
            return Path(get_weights(target))
    except Exception as error:  # whatever the network raises
        file = model_urls[target]["weights_url"].rpartition("/")[2]
        raise BackboneError(
            f"backbone {name}: its weights could not be downloaded ({type(error).__name__}); fetch {file} from the "
            "release v1 of mlmed/torchxrayvision on GitHub and pass it as the checkpoint"
        ) from error


def layers() -> list[str]:
    """Return the names of the layers that these networks are made of: they were saved whole, not as tensors."""
    import torch
    from torchxrayvision import models

    places = [models, *(getattr(torch.nn.modules, name) for name in LAYERS)]
    found = [value for place in places for value in vars(place).values() if isinstance(value, type)]
    return [f"{kind.__module__}.{kind.__qualname__}" for kind in found if issubclass(kind, torch.nn.Module)]


def densenet(options: Mapping[str, Any]) -> Any:
    """Build torchxrayvision's DenseNet up to its classifier, with the maps of its blocks."""
    import torch
    from torchxrayvision.models import DenseNet

    class Features(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.features = DenseNet(**options).features

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
            maps, x = [], images
            for layer, module in self.features.named_children():
                x = module(x)
                if layer.startswith("denseblock"):
                    maps.append(x)
            last = torch.relu(x)
            return last.mean((2, 3)), *maps[:-1], last

    return Features().eval()


def resnet(target: str) -> Any:
    """Build the ResNet of torchvision that torchxrayvision uses up to its classifier, with the maps of its stages."""
    import torch
    import torchvision

    class Features(torchvision.models.ResNet):  # type: ignore[misc]
        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
            x, maps = self.maxpool(self.relu(self.bn1(self.conv1(images)))), []
            for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
                x = stage(x)
                maps.append(x)
            return x.mean((2, 3)), *maps

    blocks = [3, 4, 23 if target.startswith("resnet101") else 6, 3]
    network = Features(torchvision.models.resnet.Bottleneck, blocks)
    network.conv1 = torch.nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
    del network.fc
    return network.eval()
