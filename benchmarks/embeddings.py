"""Embeddings of the sets of shared/data for the other benchmarks, kept in a folder once computed."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from msde.backbones import Backbone, load_backbone
from msde.benchmark.config import SetPlan, read_config
from msde.benchmark.draws import Subset
from msde.embedding.embed import embed_images
from msde.embedding.encoder import DEFAULT_LOOKS, Encoder, EncoderSession
from msde.embedding.feature_spec import FeatureSpec
from msde.images import find_images

SHARED = Path(os.environ.get("MSDE_SHARED", "../shared"))
PARTS = ("train/normal", "test/normal", "test/abnormal")
PLANS = {plan.name: plan for plan in read_config(Path(__file__).with_name("shared.toml")).sets}

# The first default's: one look, the means of the levels. What docs/ideas.md compares was tried on it.
FIRST_LOOKS = (FeatureSpec.parse("plain:own"),)

Sets = dict[str, list[Subset]]


class MomentSession(EncoderSession):
    """Gives the global means of the levels, then their global standard deviations, in place of the embedding."""

    def embed(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        maps = self._sessions[0].run(inputs[0], self.encoder.backbones[0].levels).values()
        return np.hstack([moment(level, axis=(2, 3)) for moment in (np.mean, np.std) for level in maps])


class ThirdMomentSession(EncoderSession):
    """Gives skewnesses of the levels, then products of some mixtures of channels (Gram), in place of the embedding."""

    def embed(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        levels = list(self._sessions[0].run(inputs[0], self.encoder.backbones[0].levels).values())
        return np.hstack([statistic(level) for statistic in (_skewness, _gram) for level in levels])


def _skewness(level: np.ndarray) -> np.ndarray:
    offsets = level - level.mean(axis=(2, 3), keepdims=True)
    deviations = np.sqrt((offsets**2).mean(axis=(2, 3)) + 1e-6)
    return (offsets**3).mean(axis=(2, 3)) / deviations**3


def _gram(level: np.ndarray) -> np.ndarray:
    """Mix the channels to 16 by fixed random weights, of which Gram matrices have 136 numbers apart."""
    channels = level.shape[1]
    mixing = np.random.default_rng(0).normal(size=(16, channels)).astype(np.float32) / np.sqrt(channels)
    mixed = np.einsum("mc,nchw->nmhw", mixing, level)
    products = np.einsum("nahw,nbhw->nab", mixed, mixed) / (level.shape[2] * level.shape[3])
    return products[(slice(None), *np.triu_indices(16))]


def load_sets(cache: Path, looks: Sequence[FeatureSpec] = DEFAULT_LOOKS, backbone: Backbone | None = None) -> Sets:
    """Embed every set of shared/data, or read what an earlier run has kept in the folder."""
    return kept_or_computed(cache, EncoderSession(Encoder((backbone or load_backbone(),), tuple(looks)), threads=1), "")


def load_moments(cache: Path) -> Sets:
    """Measure the levels of every set of shared/data, or read what an earlier run has kept in the folder."""
    return kept_or_computed(cache, MomentSession(Encoder((load_backbone(),), FIRST_LOOKS), threads=1), "-moments")


def load_third_moments(cache: Path) -> Sets:
    """Measure the levels of every set of shared/data further, or read what an earlier run has kept in the folder."""
    return kept_or_computed(cache, ThirdMomentSession(Encoder((load_backbone(),), FIRST_LOOKS), threads=1), "-third")


def kept_or_computed(cache: Path, session: EncoderSession, suffix: str, names: Collection[str] = ()) -> Sets:
    """Give the embeddings of the sets of these names, by default all."""
    cache.mkdir(parents=True, exist_ok=True)
    sets = {}
    for folder, plan in shared_sets():
        if names and folder.name not in names:
            continue
        kept = cache / f"{folder.name}-{session.encoder.sha256[:12]}{suffix}.npz"
        if not kept.exists():
            arrays = {}
            for part in PARTS:
                images = list(embed_images(session, find_images([folder / part])))
                arrays[f"{part}/rows"] = np.stack([image.embedding for image in images])
                arrays[f"{part}/patients"] = patients(plan, (image.name for image in images))
            np.savez(kept, **arrays)
        with np.load(kept) as file:
            sets[folder.name] = [Subset(file[f"{part}/rows"], file[f"{part}/patients"]) for part in PARTS]
    return sets


def shared_sets(shared: Path = SHARED) -> Iterator[tuple[Path, SetPlan]]:
    """Give the folder of each set, by name, and what shared.toml says of it; images of others are patients each."""
    for folder in sorted(path.parents[1] for path in (shared / "data").glob("*/train/normal")):
        name = folder.name
        yield folder, PLANS.get(name) or SetPlan(name, name, "unknown", None, (), {})


def patients(plan: SetPlan, paths: Iterable[str]) -> np.ndarray:
    """Tell the patient of each image; one whose name does not tell is a patient of its own."""
    return np.array([plan.patient_of(Path(path).name) or Path(path).name for path in paths])
