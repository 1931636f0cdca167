"""The network that is trained: where it starts, what it embeds, which part of it learns. Needs torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msde.backbones.known import BUILT_IN, registry
from msde.errors import BackboneError

if TYPE_CHECKING:
    import torch

SAME_IN_TIMM = "tf_"  # before a built-in backbone's name: the same network, tensors in the same order
LEVELS_POOLING = "levels"
TIMM = "timm:"
LEVELS = 4
SMALL = 160
SETTINGS = ("input_size", "mean", "std", "licence")
RANDOM = "random weights"
# Share of the layers that stays by default, the first ones: of a network of convolutions, of a transformer.
STAYS, STAYS_OF_BLOCKS = 0.5, 0.75
SHORTEST = 1e-6


@dataclass(frozen=True, eq=False)
class Learner:
    """A network to be trained."""

    network: Any  # timm's model without its classifier
    # "levels": the means of the last four maps, each of unit length, as of the built-in backbones; "cls", "mean" or
    # "cls+mean" of a transformer's tokens; or None, timm's pooled features
    pooling: str | None
    random: bool  # whether it starts from random weights: then all of it learns, batch norm included
    names: dict[str, str]  # of each tensor to be written, timm's name -> the name in the file
    # what the file says of the architecture: builtin or timm, input_size, mean, std, and of the licence; of a
    # transformer, the size that its positions are for, and the registry's entry that has its options
    description: dict[str, Any]
    start: str  # what the weights came from, in words

    @property
    def training_size(self) -> int:
        """Side of the images in training: small where possible, because a step takes as long as there are pixels.

        A transformer has positions for one size, see `load_start`.
        """
        size: int = self.description["input_size"]
        return size if is_of_tokens(self.network) else min(size, SMALL)

    def embed(self, pixels: torch.Tensor) -> torch.Tensor:
        """Embed RGB pixels in [0, 1], shape (n, 3, height, width), as the backbone will do."""
        import torch

        from msde.backbones.timm_export import with_head

        mean, std = (
            torch.tensor(self.description[key], device=pixels.device).view(1, 3, 1, 1) for key in ("mean", "std")
        )
        images = (pixels - mean) / std
        if self.pooling != LEVELS_POOLING:
            return with_head(self.network, self.pooling)(images)[0]
        maps = self.network.forward_intermediates(images, indices=LEVELS, intermediates_only=True)
        return torch.cat([torch.nn.functional.normalize(each.mean((2, 3)), eps=SHORTEST) for each in maps], 1)

    def learn(self, share: float | None = None) -> None:
        """Let a share of the layers learn, the last ones: by default half, of a transformer a quarter.

        The statistics of batch norms stay: those of a short training on few images are worse than those it starts
        with. A random start has none, so all of it learns.
        """
        from timm.models import group_parameters

        frozen = (STAYS_OF_BLOCKS if is_of_tokens(self.network) else STAYS) if share is None else 1 - share
        groups = group_parameters(self.network, self.network.group_matcher(coarse=True))
        n_frozen = 0 if self.random else round(frozen * len(groups))
        late = {name for group in sorted(groups)[n_frozen:] for name in groups[group]}
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(name in late)

    def mode(self, *, training: bool) -> None:
        """Prepare for a step of training or for embedding."""
        self.network.train(training and self.random)


def load_start(
    name: str, checkpoint: Path | None, *, random: bool = False, seed: int = 0, size: int | None = None
) -> Learner:
    """Load the network that training starts from, or with random weights, drawn by the seed.

    It is a built-in backbone, a name of the registry that is an architecture of timm, or ``timm:NAME``, whose weights
    are downloaded where there is no checkpoint. A transformer is made for images of `size` px, if that is given, in
    training and ever after. Raises BackboneError if the name is not known, torch is not installed, or the weights
    cannot be had or do not fit.
    """
    from msde.backbones import timm_export
    from msde.backbones.export import quiet, require

    if random and checkpoint is not None:
        raise BackboneError(f"{checkpoint}: random weights need no checkpoint; leave one of the two out")
    entry = registry().get(name, {})
    architecture = name.removeprefix(TIMM) if name.startswith(TIMM) else str(entry.get("architecture", ""))
    of_package = entry.get("loader") == "builtin"
    if not of_package and (not architecture or entry.get("loader", "timm") != "timm"):
        raise BackboneError(f"backbone {name} cannot be trained; give {BUILT_IN}, or an architecture as timm:NAME")
    require(name, "torch", "torch", "timm")
    with quiet():
        if of_package:
            return built_in(name, entry, checkpoint, random, seed)
        learner = of_timm(name, architecture, entry, checkpoint, random, seed)
    if size is None or not is_of_tokens(learner.network):
        return learner
    timm_export.resize(name, learner.network, size)
    return replace(learner, description=learner.description | {"input_size": size, "img_size": size})


def built_in(name: str, entry: dict[str, Any], checkpoint: Path | None, random: bool, seed: int) -> Learner:
    """Build a built-in backbone in torch."""
    import timm
    import torch

    from msde.backbones import builtin
    from msde.backbones.legacy_torch import read_torch_file

    if checkpoint is not None:
        raise BackboneError(f"backbone {name} has weights of its own; leave the checkpoint {checkpoint} out")
    tensors = read_torch_file(builtin.weights_file(entry))
    network = with_seed(seed, lambda: timm.create_model(f"{SAME_IN_TIMM}{name}", pretrained=False))
    names = dict(zip(network.state_dict(), tensors, strict=True))
    if not random:
        network.load_state_dict({own: torch.from_numpy(tensors[theirs]) for own, theirs in names.items()})
    used = {own: theirs for own, theirs in names.items() if not any(fnmatchcase(theirs, u) for u in entry["unused"])}
    description = {"builtin": name, **{key: entry[key] for key in SETTINGS}}
    network.reset_classifier(0)
    return Learner(network, LEVELS_POOLING, random, used, description, RANDOM if random else name)


def of_timm(
    name: str, architecture: str, entry: dict[str, Any], checkpoint: Path | None, random: bool, seed: int
) -> Learner:
    """Build a model of timm."""
    from msde.backbones import timm_export
    from msde.backbones.backbone import LOCAL_LICENCE

    timm_export.registered(name, architecture)
    if random:
        network, start = with_seed(seed, lambda: timm_export.build(name, architecture, entry)), RANDOM
    elif checkpoint is not None:
        network, start = timm_export.from_files(name, architecture, checkpoint, entry), checkpoint.name
    else:
        network, start = timm_export.download(name, architecture, entry), f"timm {architecture}"
    settings = timm_export.timm_settings(name, network, entry)
    if checkpoint is not None:
        settings["licence"] = LOCAL_LICENCE
    settings |= {key: entry[key] for key in SETTINGS if key in entry}
    description = {"timm": architecture, **{key: settings[key] for key in SETTINGS}}
    pooling = entry.get("pooling") if is_of_tokens(network) else None
    description |= {"pooling": pooling} if pooling else {}
    description |= {"registry": name} if "options" in entry else {}
    return Learner(network, pooling, random, {own: own for own in network.state_dict()}, description, start)


def is_of_tokens(network: Any) -> bool:
    """Tell a transformer, whose tokens can be pooled in more than one way."""
    return hasattr(network, "num_prefix_tokens")


def with_seed(seed: int, build: Callable[[], Any]) -> Any:
    """Call a function with torch's random numbers set, and set them back."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build()
