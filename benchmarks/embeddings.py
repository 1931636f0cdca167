"""Embeddings of the sets of shared/data for the other benchmarks, kept in a folder once computed."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from msde.backbones import Backbone, load_backbone
from msde.embedding.embed import embed_images
from msde.embedding.encoder import DEFAULT_LOOKS, Encoder, EncoderSession
from msde.embedding.feature_spec import FeatureSpec
from msde.images import find_images

SHARED = Path(os.environ.get("MSDE_SHARED", "../shared"))
PARTS = ("train/normal", "test/normal", "test/abnormal")
# Names of the shared sets that tell the patient; images of other sets count as patients of their own.
PATIENT = re.compile(r"TCGA_\w\w_\d+|\d+(?=_)")

# The first default's: one look, the means of the levels. What docs/ideas.md compares was tried on it.
FIRST_LOOKS = (FeatureSpec.parse("plain:own"),)


@dataclass(frozen=True)
class Embeddings:
    """Rows (n, d) of one part of a set, and the patient of each."""

    rows: np.ndarray
    patients: np.ndarray


Sets = dict[str, list[Embeddings]]


class MomentSession(EncoderSession):
    """Gives the global means of the levels, then their global standard deviations, in place of the embedding."""

    def embed(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        maps = self._sessions[0].run(inputs[0], self.encoder.backbones[0].levels).values()
        return np.hstack([moment(level, axis=(2, 3)) for moment in (np.mean, np.std) for level in maps])


def load_sets(cache: Path, looks: Sequence[FeatureSpec] = DEFAULT_LOOKS, backbone: Backbone | None = None) -> Sets:
    """Embed every set of shared/data, or read what an earlier run has kept in the folder."""
    return kept_or_computed(cache, EncoderSession(Encoder((backbone or load_backbone(),), tuple(looks)), threads=1), "")


def load_moments(cache: Path) -> Sets:
    """Measure the levels of every set of shared/data, or read what an earlier run has kept in the folder."""
    return kept_or_computed(cache, MomentSession(Encoder((load_backbone(),), FIRST_LOOKS), threads=1), "-moments")


def kept_or_computed(cache: Path, session: EncoderSession, suffix: str) -> Sets:
    cache.mkdir(parents=True, exist_ok=True)
    sets = {}
    for folder in sorted(path.parents[1] for path in (SHARED / "data").glob("*/train/normal")):
        kept = cache / f"{folder.name}-{session.encoder.sha256[:12]}{suffix}.npz"
        if not kept.exists():
            arrays = {}
            for part in PARTS:
                images = list(embed_images(session, find_images([folder / part])))
                arrays[f"{part}/rows"] = np.stack([image.embedding for image in images])
                arrays[f"{part}/patients"] = np.array([patient(Path(image.name)) for image in images])
            np.savez(kept, **arrays)
        with np.load(kept) as file:
            sets[folder.name] = [Embeddings(file[f"{part}/rows"], file[f"{part}/patients"]) for part in PARTS]
    return sets


def patient(path: Path) -> str:
    found = PATIENT.match(path.stem)
    return found.group() if found else path.stem
