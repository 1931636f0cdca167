"""Choose without labels how networks look at images: by anomalies made of held-out normals, or by an unlabelled pool.

For each candidate the default detector is fitted on some of the normals. Its quality is how well it tells the others
from synthetic anomalies of them, or from the images of a pool; the latter correlates with the AUROC that labels give
(AUCp, IEEE TMI 2026).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from msde.backbones import Backbone
from msde.embedding.cache import EmbeddingCache
from msde.embedding.embed import embed_images
from msde.embedding.encoder import DEFAULT_LOOKS, Encoder, EncoderSession
from msde.embedding.feature_spec import FeatureSpec
from msde.errors import DataError
from msde.images import ImageRule, expanded, read_pixels, to_input
from msde.images.patients import Patients
from msde.method.arrays import IndexArray, evenly_spaced
from msde.method.detection import Detection
from msde.method.groups import UNKNOWN, dealt_folds
from msde.method.metrics import auroc
from msde.model.grouping import number_groups

if TYPE_CHECKING:
    from msde.embedding.embed import ImageSource

Looks = tuple[FeatureSpec, ...]
Pixels = NDArray[np.float32]
Rows = NDArray[np.float32]

FEWEST, MOST_IMAGES, MOST_CHANGED = 20, 400, 100
ROUNDS = 5
OTHERS = (
    ("plain:mean",),
    ("plain:mean+std",),
    ("stretched:mean",),
    ("stretched:mean+std",),
    ("plain:mean", "stretched:mean"),
    ("plain:mean+std", "stretched:mean+std"),
)
_SEED = 20260419
_DEFAULT_RULE = ImageRule()


def candidates(backbones: Sequence[Backbone]) -> list[Looks]:
    """List what may be chosen, the default first: a short table, and each feature map that all networks have alone."""
    shared = [level for level in backbones[0].levels if all(level in backbone.levels for backbone in backbones)]
    written = [*OTHERS, *((f"plain:mean:{level}",) for level in shared)]
    return [DEFAULT_LOOKS, *(tuple(map(FeatureSpec.parse, looks)) for looks in written)]


# Synthetic anomalies: what an image (3, size, size) becomes inside a soft blob (size, size).


def pasted(image: Pixels, blob: Pixels, rng: np.random.Generator) -> Pixels:
    """Show another place of the image."""
    return np.roll(image, rng.integers(image.shape[1] // 5, image.shape[1], 2), axis=(1, 2))


def blurred(image: Pixels, blob: Pixels, rng: np.random.Generator) -> Pixels:
    """Lose what is fine."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(image, (0, *[rng.uniform(0.01, 0.03) * len(blob)] * 2))


def brightened(image: Pixels, blob: Pixels, rng: np.random.Generator) -> Pixels:
    """Become brighter or darker."""
    return image + np.float32(rng.choice([-1, 1]) * rng.uniform(0.1, 0.4))


def textured(image: Pixels, blob: Pixels, rng: np.random.Generator) -> Pixels:
    """Become grainy."""
    from scipy.ndimage import gaussian_filter

    grain = gaussian_filter(rng.standard_normal(blob.shape, np.float32), rng.uniform(0.5, 3))
    return image + np.float32(rng.uniform(0.05, 0.2)) * grain / grain.std()


def pushed(image: Pixels, blob: Pixels, rng: np.random.Generator) -> Pixels:
    """Move aside, most in the middle of the blob."""
    from scipy.ndimage import map_coordinates

    angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 0.12) * len(blob)
    y, x = np.indices(blob.shape, np.float32)
    places = [y + length * np.sin(angle) * blob, x + length * np.cos(angle) * blob]
    return np.stack([map_coordinates(plane, places, order=1, mode="nearest") for plane in image])


KINDS: tuple[Callable[[Pixels, Pixels, np.random.Generator], Pixels], ...] = (
    pasted,
    blurred,
    brightened,
    textured,
    pushed,
)


def soft_blob(size: int, rng: np.random.Generator) -> Pixels:
    """Draw an ellipse in the middle half of an image, 1 inside, falling to 0 at its edge."""
    centre, radii = rng.uniform(0.25, 0.75, 2), rng.uniform(0.08, 0.22, 2)
    y, x = ((np.arange(size) + 0.5) / size - centre[:, None]) / radii[:, None]
    return np.clip(2 - 2 * np.hypot(y[:, None], x), 0, 1).astype(np.float32)


def anomalies(image: Pixels, rng: np.random.Generator) -> Iterator[Pixels]:
    """Make an anomaly of each kind of an image of shape (3, size, size), each at a place of its own."""
    for kind in KINDS:
        blob = soft_blob(image.shape[1], rng)
        yield np.clip(image + blob * (kind(image, blob, rng) - image), 0, 1)


@dataclass(frozen=True, eq=False)
class Selection:
    """What a choice rests on.

    Parameters
    ----------
    candidates : list of tuple of FeatureSpec
    qualities : ndarray of shape (len(candidates),)
        In [0, 1], each an AUROC.
    """

    candidates: list[Looks]
    qualities: NDArray[np.float64]

    @property
    def chosen(self) -> Looks:
        """The best candidate; of equals, the first."""
        return self.candidates[int(np.argmax(self.qualities))]


def select_looks(
    backbones: Sequence[Backbone],
    normals: Iterable[ImageSource],
    unlabelled: Iterable[ImageSource] | None = None,
    rule: ImageRule = _DEFAULT_RULE,
    cache: EmbeddingCache | None = None,
    device: str = "cpu",
    groups: Patients | None = None,
) -> Selection:
    """Compare candidates; each image goes through the networks once for all of them.

    Parameters
    ----------
    backbones : sequence of Backbone
    normals : iterable of paths, Pillow images or arrays
        At most `MOST_IMAGES` of them are used, evenly spaced.
    unlabelled : iterable of paths, Pillow images or arrays, optional
        A pool to tell from the normals, in place of synthetic anomalies; as many are used.
    rule : ImageRule, optional
        How files and arrays become pixels.
    cache : EmbeddingCache, optional
        Where embeddings are kept.
    device : {"cpu", "openvino", "cuda"}, default="cpu"
        Where the networks run.
    groups : Patients, optional
        How it is told which normals are of one patient; they are held out together.

    Returns
    -------
    Selection

    Raises
    ------
    DataError
        If fewer than `FEWEST` normals, or none of the pool, can be used.
    """
    compared = candidates(backbones)
    distinct = tuple(dict.fromkeys(look for looks in compared for look in looks))
    session = EncoderSession(Encoder(tuple(backbones), distinct), threads=1, device=device)
    usable, rows = embedded(session, normals, rule, cache)
    if len(rows) < FEWEST:
        raise DataError(f"{len(rows)} usable normals are too few to choose by; give {FEWEST}, or leave the choice out")
    if unlabelled is None:
        chosen = evenly_spaced(len(rows), MOST_CHANGED)
        numbers, others = changed(session, [usable[i] for i in chosen], rule)
        origins = chosen[numbers]
    else:
        _, others = embedded(session, unlabelled, rule, cache)
        origins = np.full(len(others), -1)
    if not len(others):
        raise DataError("none of the unlabelled images can be used; give others, or leave the choice out")
    columns = [session.columns(looks) for looks in compared]
    numbers = number_groups(usable, groups or Patients())[1]
    return Selection(compared, np.array([quality(rows[:, own], others[:, own], origins, numbers) for own in columns]))


def embedded(
    session: EncoderSession, images: Iterable[ImageSource], rule: ImageRule, cache: EmbeddingCache | None = None
) -> tuple[list[ImageSource], Rows]:
    """Embed at most `MOST_IMAGES` of the images; return those that can be used and their embeddings."""
    sources = list(expanded(images))
    sources = [sources[i] for i in evenly_spaced(len(sources), MOST_IMAGES)]
    found = [image.embedding for image in embed_images(session, sources, cache=cache, rule=rule)]
    usable = [source for source, row in zip(sources, found, strict=True) if row is not None]
    return usable, np.array([row for row in found if row is not None])


def changed(
    session: EncoderSession, images: Iterable[ImageSource], rule: ImageRule = _DEFAULT_RULE
) -> tuple[NDArray[np.intp], Rows]:
    """Embed an anomaly of each kind of each image; return the number of its image with each embedding."""
    rng, size = np.random.default_rng(_SEED), max(session.encoder.input_sizes)
    inputs = (to_input(read_pixels(image, rule), size, aspect=rule.aspect) for image in images)
    made = (anomaly.transpose(1, 2, 0) for pixels in inputs for anomaly in anomalies(pixels, rng))
    found = [image.embedding for image in embed_images(session, made)]
    kept = [number for number, row in enumerate(found) if row is not None]
    return np.array(kept, np.intp) // len(KINDS), np.array([found[number] for number in kept])


def quality(normals: Rows, others: Rows, origins: IndexArray, groups: IndexArray | None = None) -> float:
    """Measure how well normals are told from other rows, both scored by detectors that have seen neither.

    Parameters
    ----------
    normals : ndarray of shape (n, d)
    others : ndarray of shape (m, d)
    origins : ndarray of shape (m,)
        The normal that each of the others was made of, or -1.
    groups : ndarray of shape (n,), optional
        The group of each normal, or -1; by default none is known.

    Returns
    -------
    float
        AUROC in [0, 1], the mean over the rounds.
    """
    found = []
    for held_out, detector in fitted(normals, groups):
        theirs = np.isin(origins, held_out) | (origins < 0)
        if theirs.any():
            found.append(auroc(*(detector.scorer_.score(rows) for rows in (normals[held_out], others[theirs]))))
    return float(np.mean(found))


def fitted(normals: Rows, groups: IndexArray | None = None) -> Iterator[tuple[IndexArray, Detection]]:
    """Hold out each fifth of the normals in turn, groups together, and fit the default detector to the others."""
    for held_out in dealt_folds(np.full(len(normals), UNKNOWN) if groups is None else groups, ROUNDS):
        yield held_out, Detection().fit(np.delete(normals, held_out, axis=0))
