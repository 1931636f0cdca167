"""What runs a backbone's graph: a table of devices, and what each has to offer."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple, Protocol

import numpy as np

from msde.backbones.backbone import Backbone
from msde.errors import BackboneError


class Runtime(Protocol):
    """A backbone, ready to run; calls from several threads at once are safe."""

    @property
    def name(self) -> str:
        """Library and version, which decide an embedding's last bits."""
        ...

    @property
    def widths(self) -> dict[str, Any]:
        """Channels of each output by its name; no number where the graph leaves it open."""
        ...

    def run(self, pixels: np.ndarray, outputs: Sequence[str]) -> list[np.ndarray]:
        """Compute outputs of the graph for pixels, float32 (n, 3, size, size)."""
        ...

    def give_back(self) -> None:
        """Give back the memory that passes have taken."""
        ...


class Load(Protocol):
    """Sets a backbone to work."""

    def __call__(self, backbone: Backbone, threads: int, device: str) -> Runtime:
        """Load graph and weights.

        Parameters
        ----------
        backbone : Backbone
            Its arrays have to outlive the runtime, which need not copy them.
        threads : int
            That a single call takes.
        device : str
            A key of `RUNTIMES`.

        Raises
        ------
        BackboneError
            If graph and weights do not fit together, or the device cannot be used.
        """


class _Device(NamedTuple):
    module: str  # has a function load, a `Load`, and check, which takes the device and raises if it cannot be used
    about: str


RUNTIMES = {
    "cpu": _Device("onnx_runtime", "the processor, by ONNX Runtime"),
    "openvino": _Device("openvino_runtime", "the processor, by OpenVINO"),
    "cuda": _Device("onnx_runtime", "a GPU, by ONNX Runtime"),
}


def check_device(device: str) -> None:
    """Check that networks can run on a device.

    Raises
    ------
    BackboneError
        If it is unknown, or what it takes is not installed.
    """
    _module(device).check(device)


def load_runtime(backbone: Backbone, threads: int, device: str) -> Runtime:
    """Set a backbone to work on a device; see `Load`."""
    load: Load = _module(device).load
    return load(backbone, threads, device)


def _module(device: str) -> ModuleType:
    if device not in RUNTIMES:
        *others, last = RUNTIMES
        raise BackboneError(f"device {device!r} is unknown; give {', '.join(others)} or {last}")
    return import_module(f"msde.backbones.{RUNTIMES[device].module}")
