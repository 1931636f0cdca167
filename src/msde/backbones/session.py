"""A backbone at work: batches of images in, embeddings out, by ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

# ONNX Runtime would otherwise write an identifier of the machine to the home folder; it reads this when it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

from msde.backbones.backbone import CLASS_OUTPUT, Backbone
from msde.errors import BackboneError
from msde.method.parallel import available_cores

# Memory grows by some 10 MB an image in a batch (EfficientNet-Lite0), speed no further than this.
BATCH = 8
FATAL_ONLY = 4  # errors are raised as well
ROUNDING = 1e-4  # how far resizing may carry a pixel out of [0, 1]
# Without TF32, whose 10 bits of mantissa would take scores away from those of a processor.
PROVIDERS: dict[str, list[tuple[str, dict[str, str]]]] = {
    "cpu": [("CPUExecutionProvider", {})],
    "cuda": [("CUDAExecutionProvider", {"use_tf32": "0"}), ("CPUExecutionProvider", {})],
}


class EmbeddingSession:
    """Turns batches of images into embeddings.

    A row's embedding does not depend on the rows beside it, nor on the number of threads. Calls from
    several threads at once are safe.

    Parameters
    ----------
    backbone : Backbone
        What to run.
    threads : int, optional
        Number of threads of the convolutions; by default as many as the process may use cores.
    device : {"cpu", "cuda"}, default="cpu"
        Where the network runs.

    Raises
    ------
    BackboneError
        If graph and weights do not fit together, or the device cannot be used.

    Notes
    -----
    The weights are given before the graph is optimised, so batch norm, clip and residual sums are fused
    into the convolutions. Idle threads sleep: spinning, ONNX Runtime's default, takes the cores from
    whatever reads the next images.
    """

    def __init__(self, backbone: Backbone, threads: int | None = None, device: str = "cpu") -> None:
        providers = execution_providers(device)
        self.backbone = backbone  # its arrays must outlive the session, which does not copy them all
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or available_cores()
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

    def embed(self, batch: np.ndarray) -> np.ndarray:
        """Embed images.

        Parameters
        ----------
        batch : ndarray of float32, shape (n, 3, input_size, input_size)
            RGB pixels in [0, 1].

        Returns
        -------
        ndarray of float32, shape (n, dim)
            One embedding a row; not finite where the weights are damaged.

        Raises
        ------
        BackboneError
            If the batch has another shape or type, or pixels outside [0, 1].
        """
        return self.run(batch, ["embedding"])["embedding"]

    def run(self, batch: np.ndarray, outputs: Sequence[str]) -> dict[str, np.ndarray]:
        """Compute outputs of the graph in one pass.

        Parameters
        ----------
        batch : ndarray of float32, shape (n, 3, input_size, input_size)
            RGB pixels in [0, 1].
        outputs : sequence of str
            "embedding", names of feature maps among the backbone's levels, or of their class tokens.

        Returns
        -------
        dict of str to ndarray of float32
            Embeddings (n, dim), feature maps (n, channels, height, width) or class tokens (n, channels), by name.

        Raises
        ------
        BackboneError
            If the batch has another shape or type, or pixels outside [0, 1].
        """
        size = self.backbone.input_size
        if batch.dtype != np.float32 or batch.shape[1:] != (3, size, size):
            raise BackboneError(f"images must be float32 (n, 3, {size}, {size}), not {batch.dtype} {batch.shape}")
        # Checked here, because a clip inside the network turns NaN into a number.
        if len(batch) and not (batch.min() >= -ROUNDING and batch.max() <= 1 + ROUNDING):
            raise BackboneError("pixels must be finite numbers in [0, 1]")
        starts = range(0, len(batch), BATCH) or [0]
        passes = [self._session.run(list(outputs), {"pixels": batch[start : start + BATCH]}) for start in starts]
        return {name: np.concatenate(parts) for name, parts in zip(outputs, zip(*passes, strict=True), strict=True)}

    def give_back(self) -> None:
        """Give back the memory that passes have taken, which ONNX Runtime keeps for those to come."""
        size = self.backbone.input_size
        options = ort.RunOptions()
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self._session.run(["embedding"], {"pixels": np.zeros((1, 3, size, size), np.float32)}, options)

    def channels(self, level: str) -> int:
        """Return how many channels a feature map or class token has; raise BackboneError if there is none."""
        widths = {output.name: output.shape[1] for output in self._session.get_outputs()}
        if level.endswith(CLASS_OUTPUT) and level not in widths:
            raise BackboneError(f"backbone {self.backbone.name}: has no class token; leave the pooling cls out")
        if level not in widths:
            raise BackboneError(f"backbone {self.backbone.name}: its graph gives no {level}; save the model again")
        return int(widths[level])


def execution_providers(device: str) -> list[tuple[str, dict[str, str]]]:
    """Return what the runtime is to compute with, the first choice first.

    Raises BackboneError if the device is unknown, or the installed runtime has no part for it.
    """
    if device not in PROVIDERS:
        raise BackboneError(f"device {device!r} is unknown; give {' or '.join(PROVIDERS)}")
    if PROVIDERS[device][0][0] not in ort.get_available_providers():
        raise BackboneError(
            f"device {device}: this ONNX Runtime cannot use one; install onnxruntime-gpu in place of onnxruntime, or"
            " leave the device out"
        )
    return PROVIDERS[device]
