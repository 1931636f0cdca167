"""Everything that turns an image into its embedding: one or several networks, and how each looks at the image."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from msde.backbones import Backbone
from msde.backbones.backbone import CLASS_OUTPUT
from msde.backbones.raw_maps import RawMaps
from msde.backbones.session import EmbeddingSession
from msde.embedding.feature_spec import CLS, OWN, POOLINGS, VIEWS, FeatureSpec
from msde.errors import BackboneError
from msde.method.arrays import unit
from msde.method.parallel import available_cores

DEFAULT_LOOKS = (FeatureSpec(("plain",), ("mean", "std")), FeatureSpec(("stretched",), ("mean",)))

_MAPPED_VIEWS = ("plain", "stretched")  # the mirrored one would show the same places again


@dataclass(frozen=True, eq=False)
class Encoder:
    """Networks and looks; the embedding of an image is all looks of all networks side by side.

    Parameters
    ----------
    backbones : tuple of Backbone
        At least one.
    looks : tuple of FeatureSpec
        At least one; a network without feature maps gives its own embedding in their place. In place of the default
        looks a network that states its own uses those.
    """

    backbones: tuple[Backbone, ...]
    looks: tuple[FeatureSpec, ...] = DEFAULT_LOOKS

    def __post_init__(self) -> None:
        """Refuse an encoder of nothing, and a look at levels that a network lacks."""
        if not self.backbones or not self.looks:
            raise BackboneError("an encoder needs a backbone and a look, such as efficientnet_lite0 and plain:own")
        for backbone in self.backbones:
            for look in self.looks_of(backbone):
                missing = [level for level in look.levels if backbone.levels and level not in backbone.levels]
                if missing:
                    known = ", ".join(backbone.levels)
                    raise BackboneError(f"look {look}: backbone {backbone.name} has no {missing[0]}; it has {known}")

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the digests of the networks and of the looks, a line each, in hexadecimal."""
        stated = [look for backbone in self.backbones for look in backbone.looks if self.looks == DEFAULT_LOOKS]
        lines = [backbone.sha256 for backbone in self.backbones] + [str(look) for look in self.looks] + stated
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def looks_of(self, backbone: Backbone) -> tuple[FeatureSpec, ...]:
        """Return the looks of one of the networks."""
        stated = backbone.looks if self.looks == DEFAULT_LOOKS else ()
        return tuple(map(FeatureSpec.parse, stated)) or self.looks

    @property
    def input_sizes(self) -> tuple[int, ...]:
        """Sides of the square inputs in pixels, ascending, each once."""
        return tuple(sorted({backbone.input_size for backbone in self.backbones}))

    def describe(self) -> dict[str, Any]:
        """Return everything but graphs and weights, ready for JSON."""
        return {
            "backbones": [backbone.describe() for backbone in self.backbones],
            "looks": [str(look) for look in self.looks],
        }

    def arrays(self) -> dict[str, dict[str, NDArray[Any]]]:
        """Return graphs and weights: ``graph`` by the number of the network, and ``backbone0`` and so on."""
        graphs = {str(i): np.frombuffer(backbone.graph, np.uint8) for i, backbone in enumerate(self.backbones)}
        weights = {f"backbone{i}": backbone.weights for i, backbone in enumerate(self.backbones)}
        return {"graph": graphs, **weights}

    @classmethod
    def from_description(
        cls, description: Mapping[str, Any], arrays: Mapping[str, Mapping[str, NDArray[Any]]]
    ) -> Encoder:
        """Rebuild an encoder from what `describe` and `arrays` returned.

        Raises
        ------
        BackboneError
            If the description is not whole, or graphs or weights are not those described.
        """
        backbones = [
            Backbone.from_description(backbone, arrays["graph"][str(i)].tobytes(), dict(arrays[f"backbone{i}"]))
            for i, backbone in enumerate(description["backbones"])
        ]
        return cls(tuple(backbones), tuple(map(FeatureSpec.parse, description["looks"])))


class Block(NamedTuple):
    """Columns of an embedding that one network, view, pooling and level fill, side by side.

    Parameters
    ----------
    network : str
        Name of the backbone.
    view, pooling, level : str
        As in :class:`msde.embedding.feature_spec.FeatureSpec`; level is empty for a network's own embedding.
    width : int
        Number of columns.
    """

    network: str
    view: str
    pooling: str
    level: str
    width: int


class EncoderSession:
    """An encoder at work.

    Parameters
    ----------
    encoder : Encoder
        What to run.
    threads : int, optional
        Of each network; see :class:`msde.backbones.session.EmbeddingSession`.
    device : str, default="cpu"
        Where the networks run; see :data:`msde.backbones.runtime.RUNTIMES`.

    Attributes
    ----------
    dim : int
        Length of an embedding.
    runtime : str
        Library that runs the networks, and its version: it decides the last bits of an embedding.
    batch : int
        Images that every network takes in one pass.

    Raises
    ------
    BackboneError
        If a graph and its weights do not fit together, or the device cannot be used.
    """

    def __init__(self, encoder: Encoder, threads: int | None = None, device: str = "cpu") -> None:
        self.encoder, self._device = encoder, device
        self._sessions = [EmbeddingSession(backbone, threads, device) for backbone in encoder.backbones]
        self.runtime = self._sessions[0].runtime
        self.batch = min(session.batch for session in self._sessions)
        self._widths = [_width(session, look) for session in self._sessions for look in self._looks_of(session)]
        self.dim = sum(self._widths)

    def expected_seconds(self, n_images: int) -> float:
        """Measure how long a job will take, by an image of nothing; reading is not counted.

        Parameters
        ----------
        n_images : int
            Number of images.

        Returns
        -------
        float
            Seconds, with all processors at work, or the one GPU.
        """
        start = time.perf_counter()
        self.embed([np.zeros((1, 3, size, size), np.float32) for size in self.encoder.input_sizes])
        return (time.perf_counter() - start) * n_images / (1 if self._device == "cuda" else available_cores())

    def give_back(self) -> None:
        """Give back the memory that the networks keep for passes to come."""
        for session in self._sessions:
            session.give_back()

    def _looks_of(self, session: EmbeddingSession) -> tuple[FeatureSpec, ...]:
        return self.encoder.looks_of(session.backbone)

    def columns(self, looks: Sequence[FeatureSpec]) -> NDArray[np.intp]:
        """Return which columns of an embedding are all that an encoder with some of the looks gives, in its order.

        Parameters
        ----------
        looks : sequence of FeatureSpec
            Of the encoder's.

        Returns
        -------
        ndarray of int
            Column numbers.
        """
        own = self.encoder.looks
        spans = np.split(np.arange(self.dim), np.cumsum(self._widths)[:-1])
        starts = range(0, len(spans), len(own))
        return np.concatenate([spans[start + own.index(look)] for start in starts for look in looks])

    @property
    def blocks(self) -> list[Block]:
        """What fills the columns of an embedding, in their order."""
        found = []
        for session in self._sessions:
            name = session.backbone.name
            for look in self._looks_of(session):
                view = "+".join(look.views)
                if _takes_own(session.backbone, look):
                    found.append(Block(name, view, OWN, "", session.backbone.dim))
                else:
                    found += [
                        Block(name, view, pooling, level, session.channels(output))
                        for pooling, level, output in _pooled(session.backbone, look)
                    ]
        return found

    def embed(self, inputs: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Embed images.

        Parameters
        ----------
        inputs : sequence of ndarray of shape (n, 3, size, size), float32
            The same images, RGB in [0, 1], at each of the encoder's input sizes.

        Returns
        -------
        ndarray of shape (n, dim), float32
            One embedding a row; not finite where weights are damaged.

        Raises
        ------
        BackboneError
            If an input has another shape or type, or pixels outside [0, 1].
        """
        return self._embed(inputs, None)

    @property
    def mapped_views(self) -> dict[str, Backbone]:
        """Views whose feature maps `embed_and_view` gives, and the networks that show them; none without maps.

        Those of the first network have the names of the views, those of a further one its number behind them, such as
        plain2.
        """
        return {
            _view_name(view, number): session.backbone
            for number, session in enumerate(self._sessions)
            for view in self._mapped(session)
        }

    def map_channels(self) -> dict[str, tuple[int, int]]:
        """Return the channels of the fine and of the coarse map of each mapped view."""
        found = {}
        for number, session in enumerate(self._sessions):
            for view in self._mapped(session):
                fine, coarse = map(session.channels, _mapped_levels(session.backbone))
                found[_view_name(view, number)] = fine, coarse
        return found

    def embed_and_view(self, inputs: Sequence[NDArray[np.float32]]) -> tuple[NDArray[np.float32], dict[str, RawMaps]]:
        """Embed images, and keep what the networks have seen of them, in the same pass.

        Parameters
        ----------
        inputs : sequence of ndarray
            As in `embed`.

        Returns
        -------
        embeddings : ndarray of shape (n, dim), float32
        viewed : dict of str to RawMaps
            By view, in the order of `mapped_views`.

        Raises
        ------
        BackboneError
            As `embed`.
        """
        viewed: dict[str, RawMaps] = {}
        rows = self._embed(inputs, viewed)
        return rows, {view: viewed[view] for view in self.mapped_views}

    def _mapped(self, session: EmbeddingSession) -> list[str]:
        """Return the views of a network whose maps are given; none where it has no maps."""
        if not session.backbone.levels:
            return []
        used = {view for look in self._looks_of(session) for view in look.views}
        return [view for view in _MAPPED_VIEWS if view in used] or [_MAPPED_VIEWS[0]]

    def _embed(self, inputs: Sequence[NDArray[np.float32]], viewed: dict[str, RawMaps] | None) -> NDArray[np.float32]:
        """Embed images; where asked to, put what the networks have seen into `viewed`."""
        by_size = dict(zip(self.encoder.input_sizes, inputs, strict=True))
        rows = []
        for number, session in enumerate(self._sessions):
            looks = self._looks_of(session)
            mapped = [] if viewed is None else self._mapped(session)
            mapped_levels = _mapped_levels(session.backbone) if mapped else ()
            seen = {}
            for view in {*mapped, *(view for look in looks for view in look.views)}:
                pixels = VIEWS[view](by_size[session.backbone.input_size])
                levels = mapped_levels if view in mapped else ()
                seen[view] = session.run(pixels, sorted({*_wanted(session.backbone, view, looks), *levels}))
                if viewed is not None and view in mapped:
                    viewed[_view_name(view, number)] = RawMaps(pixels, *(seen[view][level] for level in levels))
            for look in looks:
                rows.append(np.mean([_kept(session.backbone, look, seen[view]) for view in look.views], axis=0))
        return np.hstack(rows)


def _view_name(view: str, number: int) -> str:
    """Name a view of the network of this number, from 0."""
    return f"{view}{number + 1}" if number else view


def _mapped_levels(backbone: Backbone) -> tuple[str, ...]:
    """Return the names of the fine and of the coarse map."""
    return backbone.levels[-2:][0], backbone.levels[-1]


def _wanted(backbone: Backbone, view: str, looks: Sequence[FeatureSpec]) -> list[str]:
    """Return the names of the outputs of a network that looks with this view need; one pass gives them all."""
    return sorted({name for look in looks if view in look.views for name in _outputs(backbone, look)})


def _outputs(backbone: Backbone, look: FeatureSpec) -> list[str]:
    """Return the names of the outputs that a look needs."""
    if _takes_own(backbone, look):
        return ["embedding"]
    return list(dict.fromkeys(output for _, _, output in _pooled(backbone, look)))


def _pooled(backbone: Backbone, look: FeatureSpec) -> list[tuple[str, str, str]]:
    """Return pooling, level and name of the output for each part of what a look keeps, in their order."""
    levels = look.levels or backbone.levels
    pairs = [(pooling, level) for pooling in look.poolings for level in levels]
    return [(pooling, level, level + CLASS_OUTPUT if pooling == CLS else level) for pooling, level in pairs]


def _takes_own(backbone: Backbone, look: FeatureSpec) -> bool:
    return OWN in look.poolings or not backbone.levels


def _kept(backbone: Backbone, look: FeatureSpec, outputs: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    if _takes_own(backbone, look):
        return outputs["embedding"]
    with np.errstate(invalid="ignore", over="ignore"):  # what damaged weights give is found by the caller
        pooled = [
            outputs[output] if pooling == CLS else POOLINGS[pooling](outputs[output])
            for pooling, _, output in _pooled(backbone, look)
        ]
        return np.hstack([unit(rows) for rows in pooled])


def _width(session: EmbeddingSession, look: FeatureSpec) -> int:
    if _takes_own(session.backbone, look):
        return session.backbone.dim
    return sum(session.channels(output) for _, _, output in _pooled(session.backbone, look))
