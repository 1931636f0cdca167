"""A backbone at work: batches of images in, embeddings out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from msde.backbones.backbone import CLASS_OUTPUT, Backbone
from msde.backbones.runtime import load_runtime
from msde.errors import BackboneError
from msde.method.parallel import available_cores

# Memory grows by some 10 MB an image in a batch (EfficientNet-Lite0) and thread. Of more images what a layer leaves for
# the next no longer stays in a processor's cache; of fewer the way there and back counts.
BATCH = 4
BATCH_SIDE = 224  # of the images of a full batch; of larger ones a pass takes as many as have no more pixels in all
ROUNDING = 1e-4  # how far resizing may carry a pixel out of [0, 1]


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
    device : str, default="cpu"
        Where the network runs, and by what; see :data:`msde.backbones.runtime.RUNTIMES`.

    Attributes
    ----------
    runtime : str
        Library that runs it, and its version.
    batch : int
        Images that a pass takes at most.

    Raises
    ------
    BackboneError
        If graph and weights do not fit together, or the device cannot be used.
    """

    def __init__(self, backbone: Backbone, threads: int | None = None, device: str = "cpu") -> None:
        self.backbone = backbone
        self._runtime = load_runtime(backbone, threads or available_cores(), device)
        self.runtime = self._runtime.name
        self.batch = min(BATCH, max(1, BATCH * BATCH_SIDE**2 // backbone.input_size**2))

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
        starts = range(0, len(batch), self.batch) or [0]
        passes = [self._runtime.run(batch[start : start + self.batch], outputs) for start in starts]
        if len(passes) == 1:  # the usual one, whose feature maps need no copy
            return dict(zip(outputs, passes[0], strict=True))
        return {name: np.concatenate(parts) for name, parts in zip(outputs, zip(*passes, strict=True), strict=True)}

    def give_back(self) -> None:
        """Give back the memory that passes have taken, which is kept for those to come."""
        self._runtime.give_back()

    def channels(self, level: str) -> int:
        """Return how many channels a feature map or class token has; raise BackboneError if there is none."""
        widths = self._runtime.widths
        if level.endswith(CLASS_OUTPUT) and level not in widths:
            raise BackboneError(f"backbone {self.backbone.name}: has no class token; leave the pooling cls out")
        if level not in widths:
            raise BackboneError(f"backbone {self.backbone.name}: its graph gives no {level}; save the model again")
        return int(widths[level])
