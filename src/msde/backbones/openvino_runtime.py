"""Graphs run by OpenVINO on the processor; needs the extra `openvino`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache, cached_property
from importlib.util import find_spec
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any

import numpy as np

from msde.backbones.backbone import Backbone
from msde.backbones.graph import with_weights
from msde.errors import BackboneError
from msde.method.parallel import available_cores

NEEDED = ("openvino", "onnx")
TELEMETRY = "openvino_telemetry"
# float32 throughout: where the processor has the instructions, OpenVINO would compute in bfloat16, and would quantise
# what goes into products with stored integers by its range in the batch.
SETTINGS = {
    "INFERENCE_PRECISION_HINT": "f32",
    "EXECUTION_MODE_HINT": "ACCURACY",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
    "ENABLE_CPU_PINNING": False,  # two jobs on a machine would be pinned to the same cores
}


def check(device: str) -> None:
    """Raise BackboneError if what a device takes is not installed."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise BackboneError(
            f"device {device} needs {' and '.join(missing)}; run `pip install 'msde[openvino]'`, or leave the device"
            " out"
        )


@cache
def library() -> Any:
    """Import OpenVINO without its telemetry, which would send a line to its makers at each import."""
    modules: dict[str, Any] = sys.modules
    before = modules.get(TELEMETRY)
    modules[TELEMETRY] = None  # as if it were not installed
    try:
        import openvino
    finally:
        del modules[TELEMETRY]
        if before is not None:
            modules[TELEMETRY] = before
    return openvino


class OpenVinoRuntime:
    """A `msde.backbones.runtime.Runtime`.

    An image goes through by itself, so that what it gives does not depend on its batch at all; several threads have
    their images computed side by side. The graph is compiled once for each choice of outputs, because OpenVINO computes
    all that it was compiled for.
    """

    def __init__(self, backbone: Backbone, threads: int, device: str) -> None:
        check(device)
        streams = max(1, available_cores() // threads)
        self._settings = SETTINGS | {"NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": streams * threads}
        self._backbone, self._lock = backbone, Lock()
        self._compiled: dict[tuple[str, ...], _Compiled] = {}
        size = backbone.input_size
        try:
            openvino = library()
            self.name = f"openvino {openvino.__version__.partition('-')[0]}"
            self._core: Any = openvino.Core()
            self._model = self._core.read_model(with_weights(backbone.graph, backbone.weights))
            self._model.reshape([1, 3, size, size])
        except Exception as error:  # OpenVINO's own errors have no common base but this
            raise self._refusal(error) from error

    @cached_property
    def widths(self) -> dict[str, Any]:
        """Channels of each output by its name; no number where the graph leaves it open."""
        sizes = {output.get_any_name(): output.partial_shape[1] for output in self._model.outputs}
        return {name: size.get_length() if size.is_static else None for name, size in sizes.items()}

    def run(self, pixels: np.ndarray, outputs: Sequence[str]) -> list[np.ndarray]:
        """Compute outputs of the graph."""
        return self._of(tuple(outputs)).run(pixels)

    def give_back(self) -> None:
        """Give back the memory that passes have taken."""
        with self._lock:
            self._compiled.clear()

    def _of(self, outputs: tuple[str, ...]) -> _Compiled:
        with self._lock:
            if outputs not in self._compiled:
                try:
                    results = [self._model.output(name).get_node() for name in outputs]
                    part = library().Model(results, self._model.get_parameters())
                    self._compiled[outputs] = _Compiled(self._core.compile_model(part, "CPU", self._settings))
                except Exception as error:  # as above
                    raise self._refusal(error) from error
            return self._compiled[outputs]

    def _refusal(self, error: Exception) -> BackboneError:
        reason = str(error).strip().rpartition("\n")[2] or type(error).__name__
        return BackboneError(f"backbone {self._backbone.name}: OpenVINO cannot run it: {reason}; leave the device out")


class _Compiled:
    """A graph compiled for some outputs; each call has a request for itself, because a request has room for one."""

    def __init__(self, compiled: Any) -> None:
        self._compiled, self._n_outputs = compiled, len(compiled.outputs)
        self._idle: SimpleQueue[Any] = SimpleQueue()

    def run(self, pixels: np.ndarray) -> list[np.ndarray]:
        """Compute all outputs for pixels (n, 3, size, size)."""
        try:
            request = self._idle.get_nowait()
        except Empty:
            request = self._compiled.create_infer_request()
        images = pixels if len(pixels) else np.zeros((1, *pixels.shape[1:]), np.float32)
        rows = []
        for image in images:
            request.infer([image[None]], share_inputs=True)
            rows.append([request.get_output_tensor(number).data.copy() for number in range(self._n_outputs)])
        self._idle.put(request)
        return [np.concatenate(parts)[: len(pixels)] for parts in zip(*rows, strict=True)]


load = OpenVinoRuntime
