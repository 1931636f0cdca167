"""The state of a training between two steps: weights, their average, optimiser, and the best so far. Needs torch.

What a step does depends on the state before it and on (seed, number of the step) alone, so that a run which is
resumed ends with the same weights as one that was never stopped.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from msde.errors import BackboneError, DataError
from msde.pretrain.drift_penalty import DriftPenalty
from msde.pretrain.images import PretrainImages
from msde.pretrain.network import Learner, with_seed
from msde.pretrain.self_validation import SelfValidation
from msde.pretrain.tasks import TASKS, jittered
from msde.pretrain.tensorfile import Tensors, read_tensors, write_tensors

if TYPE_CHECKING:
    import torch

HIDDEN = (512, 128)  # of the published head
SLOPE = 3.0
WARM_UP = 20  # steps
EMBEDDED_AT_ONCE = 16


@dataclass(frozen=True)
class TrainingPlan:
    """What the result of a training depends on, beside its start and the images."""

    task: str = "anatpaste"  # one of msde.pretrain.tasks.TASKS
    steps: int = 200  # at least 1
    batch: int = 16  # normals a step; each comes with one synthetic anomaly of each kind of the task
    rate: float = 1e-4  # largest learning rate of the network
    head_rate: float = 1e-3  # largest learning rate of the head on top of it
    line_rate: float = 1e-2  # largest learning rate of the line from distance to odds
    decay: float = 1e-4  # weight decay (AdamW)
    share: float | None = None  # of the layers that learns, the last ones; by default what suits the network
    memory: float = 0.98  # share of the averaged weights that stays at each step
    # weight of the squared distance of the normals' embeddings from where the start puts them, in its own standard
    # deviations of normals, the mean over the axes; a random start has nothing to be kept
    fidelity: float = 1.0
    measurements: int = 5  # how often the averaged weights are measured; the best are kept
    seed: int = 0


@dataclass
class Best:
    """The weights that are best so far, and every quality measured, by step."""

    step: int = 0
    weights: Tensors = field(default_factory=dict)
    qualities: dict[int, float] = field(default_factory=dict)


class Batch(NamedTuple):
    """The images of a step: normals, then their synthetic anomalies, kind by kind."""

    pixels: NDArray[np.float32]  # (n, 3, size, size), float32
    kinds: NDArray[np.int64]  # (n,): 0 for a normal, then the number of the anomaly's kind
    rows: NDArray[np.intp]  # which normals they are


def batch(normals: PretrainImages, plan: TrainingPlan, step: int) -> Batch:
    """Draw the images of a step."""
    rng = np.random.default_rng((plan.seed, step))
    rows = rng.choice(normals.learning, min(plan.batch, len(normals.learning)), replace=False)
    images = [jittered(image, rng) for image in normals.images(rows)]
    anomalies = [
        kind(image, anatomy, rng)
        for kind in TASKS[plan.task]
        for image, anatomy in zip(images, normals.anatomy[rows], strict=True)
    ]
    kinds = np.repeat(np.arange(1 + len(TASKS[plan.task])), len(rows))
    return Batch(np.stack([*images, *anomalies]), kinds, rows)


def head(dim: int, classes: int) -> Any:
    """Build the published head, for the kinds, and a line from the detector's distance to the odds of an anomaly.

    Embeddings are standardised first, because their features differ in size.
    """
    from torch import nn

    layers: list[Any] = [nn.BatchNorm1d(dim)]
    for width in HIDDEN:
        layers += [nn.Linear(dim, width), nn.BatchNorm1d(width), nn.ReLU()]
        dim = width
    line = nn.Linear(1, 1)
    nn.init.constant_(line.weight, SLOPE)
    nn.init.constant_(line.bias, -SLOPE)  # even odds at the mean distance of the start's normals, 1
    return nn.ModuleDict({"kinds": nn.Sequential(*layers, nn.Linear(dim, classes)), "distance": line})


class Training:
    """A training after `step` steps: the averaged weights of the tensors that learn, and the best so far."""

    def __init__(self, learner: Learner, normals: PretrainImages, plan: TrainingPlan) -> None:
        import torch

        self.learner, self.plan = learner, plan
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        learner.network.to(self.device, memory_format=torch.channels_last)
        self.identity = {
            "settings": asdict(plan),
            "normals": normals.sha256,
            "architecture": learner.description,
            "start": digest(learner.network.state_dict()),
        }
        learner.learn(plan.share)
        dim = self.dim(normals.images(normals.held_out[:1]))
        self.anchor = None if learner.random else self.measure_start(normals)
        self.head = with_seed(plan.seed, lambda: head(dim, 1 + len(TASKS[plan.task]))).to(self.device)
        parameters = [p for p in learner.network.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(
            [{"params": parameters}] + [{"params": list(part.parameters())} for part in self.head.values()],
            weight_decay=plan.decay,
        )
        self.quality = SelfValidation(normals, plan.task, plan.seed)
        self.step = 0
        self.average = {name: tensor.clone() for name, tensor in self.weights().items()}
        self.best = Best()

    def dim(self, images: NDArray[np.float32]) -> int:
        """Return the length of an embedding, once it is clear that the network takes such images."""
        try:
            return self.embed(images).shape[1]
        except Exception as error:  # whatever the network's own code raises
            side = images.shape[2]
            raise BackboneError(f"the network takes no images of {side} x {side} px; leave --input-size out") from error

    def measure_start(self, normals: PretrainImages) -> DriftPenalty:
        """Measure where the start puts the normals."""
        rows = self.embed(normals.images(np.arange(len(normals.pixels))))
        return DriftPenalty.fit(rows, normals.learning, self.device)

    def loss(self, embeddings: torch.Tensor, drawn: Batch) -> torch.Tensor:
        """Return the cross-entropy of the head; from a trained start also that of the distance, and the drift."""
        import torch

        kinds = torch.from_numpy(drawn.kinds).to(self.device)
        entropy = torch.nn.functional.cross_entropy(self.head["kinds"](embeddings), kinds)
        if self.anchor is None:
            return entropy
        odds = self.head["distance"](self.anchor.distance(embeddings)[:, None])[:, 0]
        entropy = entropy + torch.nn.functional.binary_cross_entropy_with_logits(odds, (kinds > 0).to(odds.dtype))
        rows = torch.from_numpy(drawn.rows).to(self.device)
        return entropy + self.plan.fidelity * self.anchor.drift(embeddings[: len(rows)], rows)

    def weights(self) -> Tensors:
        """Return the network's tensors that learn, as they are."""
        learning = {name for name, parameter in self.learner.network.named_parameters() if parameter.requires_grad}
        if self.learner.random:
            learning |= {name for name, _ in self.learner.network.named_buffers()}
        return {name: tensor for name, tensor in self.learner.network.state_dict().items() if name in learning}

    def advance(self, drawn: Batch) -> float:
        """Make one step and return its loss."""
        plan, last = self.plan, self.step + 1
        share = min(1.0, last / WARM_UP) * (1 + math.cos(math.pi * self.step / plan.steps)) / 2
        rates = (plan.rate, plan.head_rate, plan.line_rate)
        for group, rate in zip(self.optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * share
        self.learner.mode(training=True)
        self.head.train()
        embeddings = self.learner.embed(self.on_device(drawn.pixels))
        loss = self.loss(embeddings, drawn)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.step = last
        if not math.isfinite(loss.item()):
            raise BackboneError(f"the loss is no longer finite after {last} steps; give a lower --rate")
        memory = min(plan.memory, last / (last + 9))  # the start is forgotten as fast as weights are learned
        for name, tensor in self.weights().items():
            if tensor.is_floating_point():
                self.average[name].lerp_(tensor, 1 - memory)
            else:
                self.average[name].copy_(tensor)
        return float(loss.item())

    def measure(self) -> float:
        """Measure the averaged weights and keep them if they are the best so far."""
        with self.with_average():
            quality = self.quality.of(self.embed)
        if quality > max(self.best.qualities.values(), default=-math.inf):
            self.best.step, self.best.weights = self.step, {name: t.clone() for name, t in self.average.items()}
        self.best.qualities[self.step] = quality
        return quality

    def embed(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Embed images in [0, 1] as after training."""
        import torch

        self.learner.mode(training=False)
        with torch.inference_mode():
            parts = [
                self.learner.embed(self.on_device(images[start : start + EMBEDDED_AT_ONCE])).cpu().numpy()
                for start in range(0, len(images), EMBEDDED_AT_ONCE)
            ]
        return np.concatenate(parts)

    def on_device(self, images: NDArray[np.float32]) -> torch.Tensor:
        """Hand images to torch, in the order of memory in which its convolutions are fastest."""
        import torch

        return torch.from_numpy(images).to(self.device, memory_format=torch.channels_last)

    @contextmanager
    def with_average(self) -> Iterator[None]:
        """Put the averaged weights into the network while the block runs."""
        own = {name: tensor.clone() for name, tensor in self.weights().items()}
        self.learner.network.load_state_dict(self.average, strict=False)
        try:
            yield
        finally:
            self.learner.network.load_state_dict(own, strict=False)

    def save(self, path: Path) -> None:
        """Write everything that the next steps depend on."""
        parts: dict[str, Tensors] = {
            "network": self.weights(),
            "average": self.average,
            "best": self.best.weights,
            "head": self.head.state_dict(),
            "optimiser": {
                f"{number}/{key}": tensor
                for number, tensors in self.optimiser.state_dict()["state"].items()
                for key, tensor in tensors.items()
            },
        }
        facts = {"step": self.step, "best": self.best.step, "qualities": sorted(self.best.qualities.items())}
        tensors = {f"{part}/{name}": tensor for part, each in parts.items() for name, tensor in each.items()}
        write_tensors(path, tensors, {"identity": self.identity, "progress": facts})

    def restore(self, path: Path) -> None:
        """Go back to where a run of the same start, images and settings was when it wrote the checkpoint."""
        import torch

        tensors, facts = read_tensors(path)
        if facts.get("identity") != self.identity:
            raise DataError(
                f"{path}: is of a run with other images, settings or start; delete it, or choose another output"
            )
        parts: dict[str, Tensors] = {part: {} for part in ("network", "average", "best", "head", "optimiser")}
        for name, tensor in tensors.items():
            part, _, rest = name.partition("/")
            # The same order of memory as before the kill: the last bits of a sum may depend on it.
            order = torch.channels_last if tensor.ndim == 4 else torch.contiguous_format
            parts[part][rest] = tensor.to(self.device, memory_format=order)
        self.learner.network.load_state_dict(parts["network"], strict=False)
        self.head.load_state_dict(parts["head"])
        state: dict[int, Tensors] = {}
        for name, tensor in parts["optimiser"].items():
            number, _, key = name.partition("/")
            state.setdefault(int(number), {})[key] = tensor
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": state})
        progress = facts["progress"]
        self.step, self.average = progress["step"], parts["average"]
        self.best = Best(progress["best"], parts["best"], dict(map(tuple, progress["qualities"])))


def digest(tensors: Tensors) -> str:
    """Return the SHA-256 of tensors, in hexadecimal."""
    sha = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        sha.update(f"{name} {tuple(tensor.shape)}\n".encode())
        sha.update(tensor.detach().cpu().contiguous().numpy().data)
    return sha.hexdigest()
