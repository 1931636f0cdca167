"""Heat maps against masks: the model's, each kind of its evidence, other memories of patches, and what they cost.

    python benchmarks/heatmaps.py lgg_flair_hemispheres busi_ultrasound [--tokens]

Prints for each set of shared/data with masks pixel AUROC, pixel AP and AUPRO (to a false-positive rate of 0.3), over
all pixels of the normal test images, which count as normal, and of the abnormal ones with a mask. Every row is scaled
by held-out training normals as the model's own heat is; nothing is chosen by the test images.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from msde import AnomalyModel
from msde.embedding.embed import Embedded
from msde.evaluation.masks import Masks
from msde.evaluation.pixel_metrics import PixelCounter
from msde.heatmaps.feature_maps import SIDE
from msde.heatmaps.localizer import FOLDS_HELD_OUT
from msde.heatmaps.location_gaussian import LocationGaussian
from msde.heatmaps.normality import Axes
from msde.heatmaps.patch_models import KINDS as PATCH_MODELS
from msde.heatmaps.patch_prototypes import KEPT, PatchPrototypes
from msde.heatmaps.scale import HeatScale
from msde.images import find_images, from_input
from msde.method.arrays import evenly_spaced
from msde.method.calibration import folds
from msde.model.normal_maps import NormalMaps

SHARED = Path(os.environ.get("MSDE_SHARED", "../shared"))
VIEWS = ("plain", "stretched")
CANDIDATES = 4000  # patches that modes are shifted from, and that the other memories choose from
TIMED, ROUNDS = 64, 5
BATCH = 16


TOKENS = {"modes": "directions: 1,000 modes of unit tokens, 7 x 7", "subspace": "subspace of unit tokens, 7 x 7"}


class Measure(Protocol):
    def distances(self, maps: np.ndarray) -> np.ndarray: ...


def spread(rows: np.ndarray, n: int) -> np.ndarray:
    return rows[evenly_spaced(len(rows), n)]


def random_patches(maps: np.ndarray) -> PatchPrototypes:
    patches = spread(maps.reshape(-1, maps.shape[-1]), CANDIDATES)
    return PatchPrototypes(spread(patches, KEPT).astype(np.float16))


def coreset(maps: np.ndarray) -> PatchPrototypes:
    """Take the patch farthest from those taken, again and again, as PatchCore does."""
    patches = spread(maps.reshape(-1, maps.shape[-1]), CANDIDATES)
    chosen = [0]
    nearest = np.full(len(patches), np.inf, np.float32)
    while len(chosen) < min(KEPT, len(patches)):
        nearest = np.minimum(nearest, ((patches - patches[chosen[-1]]) ** 2).sum(axis=1))
        chosen.append(int(nearest.argmax()))
    return PatchPrototypes(patches[chosen].astype(np.float16))


def many_patches(maps: np.ndarray) -> PatchPrototypes:
    return PatchPrototypes(spread(maps.reshape(-1, maps.shape[-1]), CANDIDATES).astype(np.float16))


KINDS: dict[str, tuple[str, Callable[[np.ndarray], Measure]]] = {
    "fine": ("fine", LocationGaussian.fit),
    "coarse": ("coarse", LocationGaussian.fit),
    "brightness": ("brightness", LocationGaussian.fit),
    "modes": ("coarse", PatchPrototypes.fit),
    "random": ("coarse", random_patches),
    "coreset": ("coarse", coreset),
    "kNN fine": ("fine", many_patches),
    "kNN coarse": ("coarse", many_patches),
}
ROWS: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "Gaussian at each place, 14 x 14 (PaDiM), plain view": (["fine"], ["plain"]),
    "Gaussian at each place, 14 x 14": (["fine"], VIEWS),
    "Gaussian at each place, 7 x 7": (["coarse"], VIEWS),
    "brightness at each place, 56 x 56": (["brightness"], VIEWS),
    "patch kNN, 4,000 patches, 14 x 14": (["kNN fine"], VIEWS),
    "patch kNN, 4,000 patches, 7 x 7": (["kNN coarse"], VIEWS),
    "1,000 modes, 7 x 7": (["modes"], VIEWS),
    "1,000 random patches, 7 x 7": (["random"], VIEWS),
    "1,000 patches of a greedy coreset, 7 x 7": (["coreset"], VIEWS),
    "all four: Gaussians, brightness and modes": (["fine", "coarse", "brightness", "modes"], VIEWS),
    "all four, plain view only": (["fine", "coarse", "brightness", "modes"], ["plain"]),
    "all four, random patches for modes": (["fine", "coarse", "brightness", "random"], VIEWS),
    "all four, greedy coreset for modes": (["fine", "coarse", "brightness", "coreset"], VIEWS),
    "without modes": (["fine", "coarse", "brightness"], VIEWS),
    "without brightness": (["fine", "coarse", "modes"], VIEWS),
    "without the 14 x 14 map": (["coarse", "brightness", "modes"], VIEWS),
}


def seen_of(model: AnomalyModel, paths: Sequence[Path], kind: str) -> tuple[list[Embedded], dict[str, Any]]:
    """Embed images, and keep what a kind of patch model sees of their maps."""
    reader = NormalMaps(model.session, kind)
    images = list(model.embed(paths, reader))
    parts = np.split(np.stack([image.maps for image in images if image.maps is not None]), len(VIEWS), axis=1)
    shapes = reader.shapes()
    return images, {
        view: PATCH_MODELS[kind].seen.unpacked(part, shapes[view]) for view, part in zip(VIEWS, parts, strict=True)
    }


def of_places(model: AnomalyModel, train: Sequence[Path], tested: Sequence[Path]) -> dict[str, np.ndarray]:
    """Return the heat of tested images by kinds of evidence of the patch model of places."""
    _, known = seen_of(model, train, "places")
    _, seen = seen_of(model, tested, "places")
    found = {}
    for view in VIEWS:
        axes = Axes.fit(known[view])
        normals, others = axes.apply(known[view]), axes.apply(seen[view])
        for kind, (part, fit) in KINDS.items():
            found[kind, view] = evidence(getattr(normals, part), getattr(others, part), fit)
    brightness = seen["plain"].brightness[..., 0]
    heats = {"brightness itself": brightness / max(1, brightness.max())}
    for row, (kinds, views) in ROWS.items():
        held_out, measured = zip(*(found[kind, view] for view in views for kind in kinds), strict=True)
        heats[row] = HeatScale.fit(held_out).heat(measured)
    return heats


def of_tokens(
    model: AnomalyModel, train: Sequence[Path], tested: Sequence[Path]
) -> tuple[list[Embedded], dict[str, np.ndarray]]:
    """Embed tested images, and return their heat by the patch models of unit tokens, with and without background."""
    _, known = seen_of(model, train, "subspace")
    images, others = seen_of(model, tested, "subspace")
    held_out = list(islice(folds(len(train)), FOLDS_HELD_OUT))
    heats = {}
    for kind, about in TOKENS.items():
        for masked in (False, True):
            fits = [PATCH_MODELS[kind].model.fit(known[view], held_out, masked) for view in VIEWS]
            masks = (known["plain"].mask[np.concatenate(held_out)], others["plain"].mask) if masked else (None, None)
            scale = HeatScale.fit([maps for _, evidence in fits for maps in evidence], masks[0])
            tested_evidence = [
                maps for (fitted, _), view in zip(fits, VIEWS, strict=True) for maps in fitted.evidence(others[view])
            ]
            heats[f"{about}{', flat background left out' if masked else ''}"] = scale.heat(tested_evidence, masks[1])
    shares = [1 - masks["plain"].mask.mean() for masks in (known, others)]
    print(f"\nflat background: {shares[0]:.0%} of the area of normals to fit, {shares[1]:.0%} of the tested images")
    return images, heats


def evidence(normals: np.ndarray, images: np.ndarray, fit: Callable[[np.ndarray], Measure]) -> list[np.ndarray]:
    """Measure held-out normals, and images."""
    held_out = [
        fit(np.delete(normals, rows, axis=0)).distances(normals[rows])
        for rows in islice(folds(len(normals)), FOLDS_HELD_OUT)
    ]
    measure = fit(normals)
    batches = np.array_split(images, -(-len(images) // BATCH))
    return [np.concatenate(held_out), np.concatenate([measure.distances(batch) for batch in batches])]


def print_quality(name: str, tokens_alone: bool) -> None:
    folder = SHARED / "data" / name
    train, normal, abnormal = (
        find_images([folder / part]) for part in ("train/normal", "test/normal", "test/abnormal")
    )
    masks = Masks([folder / "test" / "mask"], abnormal)
    with_mask = {path.stem for path in find_images([folder / "test" / "mask"])}
    abnormal = [path for path in abnormal if path.stem in with_mask]
    model = AnomalyModel()
    heats = {} if tokens_alone else of_places(model, train, [*normal, *abnormal])
    images, by_tokens = of_tokens(model, train, [*normal, *abnormal])
    marks = [None] * len(normal) + [masks.of(image.name, image.shape) for image in images[len(normal) :]]
    print(f"\n{name}: {len(train)} normals to fit; {len(normal)} normal and {len(abnormal)} abnormal images\n")
    heats |= by_tokens
    print("\n| evidence | pixel AUROC | pixel AP | AUPRO |\n|---|---|---|---|")
    for row, heat in heats.items():
        counter = PixelCounter()
        for grid, image, mask in zip(heat, images, marks, strict=True):
            counter.add(from_input(np.ascontiguousarray(grid), *image.shape), mask)
        figures = counter.figures() or sys.exit(f"{name}: nothing is marked")
        print(f"| {row} | {figures.auroc:.3f} | {figures.ap:.3f} | {figures.aupro:.3f} |", flush=True)


def print_cost(name: str) -> None:
    folder = SHARED / "data" / name
    model = AnomalyModel().fit(folder / "train" / "normal")
    localizer = model.fitted.heat_maps()
    paths = find_images([folder / "test"])[:TIMED]
    jobs: dict[str, Callable[[], object]] = {
        "scores alone": lambda: list(model.score_iter(paths)),
        "scores and heat, 56 x 56": lambda: list(model.embed(paths, localizer)),
        "scores, heat and overlay at the image's resolution": lambda: [
            pair[1].overlay for pair in model.explain_iter(paths) if pair[1]
        ],
    }
    taken: dict[str, list[float]] = {job: [] for job in jobs}
    for _ in range(ROUNDS):
        for job, run in jobs.items():
            start = time.perf_counter()
            run()
            taken[job].append((time.perf_counter() - start) / len(paths))
    first = min(taken["scores alone"])
    print(f"\n{name}, ms an image, the best of {ROUNDS} rounds over {len(paths)} images\n")
    for job, times in taken.items():
        print(f"{job}: {1000 * min(times):.1f} ({min(times) / first - 1:+.0%})")
    megabytes = sum(array.nbytes for part in localizer.arrays().values() for array in part.values()) / 1e6
    print(f"in the model file: {megabytes:.1f} MB; maps of {SIDE} x {SIDE}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+")
    parser.add_argument("--tokens", action="store_true", help="patch models of unit tokens alone, and no costs")
    arguments = parser.parse_args()
    for name in arguments.sets:
        print_quality(name, arguments.tokens)
    if not arguments.tokens:
        print_cost(arguments.sets[-1])


if __name__ == "__main__":
    main()
