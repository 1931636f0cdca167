"""Graphs run by ONNX Runtime, on the processor or a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import onnxruntime as ort

from msde.backbones.backbone import Backbone
from msde.errors import BackboneError

FATAL_ONLY = 4  # errors are raised as well
# Without TF32, whose 10 bits of mantissa would take scores away from those of a processor.
PROVIDERS: dict[str, list[tuple[str, dict[str, str]]]] = {
    "cpu": [("CPUExecutionProvider", {})],
    "cuda": [("CUDAExecutionProvider", {"use_tf32": "0"}), ("CPUExecutionProvider", {})],
}


def check(device: str) -> None:
    """Raise BackboneError if the installed runtime has no part for a device."""
    if device in PROVIDERS and PROVIDERS[device][0][0] not in ort.get_available_providers():
        raise BackboneError(
            f"device {device}: this ONNX Runtime cannot use one; install onnxruntime-gpu in place of onnxruntime, or"
            " leave the device out"
        )


class OnnxRuntime:
    """A `msde.backbones.runtime.Runtime`.

    Notes
    -----
    The weights are given before the graph is optimised, so batch norm, clip and residual sums are fused
    into the convolutions. Idle threads sleep: spinning, ONNX Runtime's default, takes the cores from
    whatever reads the next images.
    """

    name = f"onnxruntime {ort.__version__}"

    def __init__(self, backbone: Backbone, threads: int, device: str) -> None:
        check(device)
        providers = PROVIDERS[device]
        self._backbone = backbone  # its arrays must outlive the session, which does not copy them all
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.enable_mem_pattern = False  # plans memory for each batch size seen: no faster, and larger
        options.log_severity_level = FATAL_ONLY
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        weights = {name: np.require(values, requirements=["C", "A"]) for name, values in backbone.weights.items()}
        self._weights = {name: ort.OrtValue.ortvalue_from_numpy(values) for name, values in weights.items()}
        try:
            options.add_external_initializers(list(self._weights), list(self._weights.values()))
            self._session = ort.InferenceSession(backbone.graph, options, providers=providers)
        except Exception as error:  # ONNX Runtime's own errors have no common base but this
            reason = str(error).partition("\n")[0]
            raise BackboneError(
                f"backbone {backbone.name}: its graph and weights do not fit together: {reason}"
            ) from error
        if self._session.get_providers()[0] != providers[0][0]:  # the runtime falls back without a word
            raise BackboneError(
                f"device {device}: ONNX Runtime has found no usable one; check its driver and CUDA libraries, or leave"
                " the device out"
            )

    @cached_property
    def widths(self) -> dict[str, Any]:
        """Channels of each output by its name; no number where the graph leaves it open."""
        return {output.name: output.shape[1] for output in self._session.get_outputs()}

    def run(self, pixels: np.ndarray, outputs: Sequence[str]) -> list[np.ndarray]:
        """Compute outputs of the graph."""
        return list(self._session.run(list(outputs), {"pixels": pixels}))

    def give_back(self) -> None:
        """Give back the memory that passes have taken, which ONNX Runtime keeps for those to come."""
        size = self._backbone.input_size
        options = ort.RunOptions()
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self._session.run(["embedding"], {"pixels": np.zeros((1, 3, size, size), np.float32)}, options)


load = OnnxRuntime
