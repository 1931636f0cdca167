"""Images of a set as the detectors take them, computed once and kept in a folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msde.backbones import Backbone, load_backbone
from msde.backbones.session import EmbeddingSession
from msde.benchmark.config import BackbonePlan, SetPlan
from msde.benchmark.draws import Split, Subset
from msde.datasets import read_dataset
from msde.embedding.cache import EmbeddingCache
from msde.embedding.embed import embed_images
from msde.embedding.encoder import Encoder, EncoderSession
from msde.embedding.feature_spec import FeatureSpec
from msde.errors import DataError, ImageError
from msde.images import Part, expanded, read_pixels, to_input
from msde.images.patients import GroupTable
from msde.model.normal_maps import NormalMaps
from msde.storage.atomic import writing

SUBSETS = ("train", "normal", "abnormal")
PIXELS = 64
PATCH_LEVELS = ("level2", "level3")  # the middle maps, as PaDiM's and PatchCore's authors take them
_FORMAT = "2"

Row = NDArray[Any] | None
Extract = Callable[[list[Any]], Iterator[tuple[Row, str | None]]]


@dataclass(frozen=True)
class Order:
    """What to prepare: a set, as a space of detectors sees it through a backbone."""

    plan: SetPlan
    backbone: BackbonePlan
    space: str  # one of SPACES
    data: Path  # folder of the sets
    store: Path  # folder of what is prepared
    device: str = "cpu"  # where the networks run
    kinds: GroupTable | None = None  # of abnormal images, before what the plan and folders tell


@dataclass(frozen=True)
class Prepared:
    """A set made ready."""

    path: Path  # the .npz file
    digest: str  # SHA-256 of the rows and patients, in hexadecimal
    sizes: tuple[int, int, int]  # training normals, test normals and test abnormals
    unreadable: tuple[str, ...]  # one line for each image that could not be used
    kinds: tuple[str, ...] = ()  # names of the kinds of the abnormal images, as far as they are known


def prepare(order: Order) -> Prepared:
    """Compute the rows of a set, or find those kept from before.

    Raises DataError if the set is missing or lacks a class, or the space cannot be had; OutputError if the rows cannot
    be kept.
    """
    dataset = read_dataset(order.data / order.plan.folder, order.plan.name)
    sources = {part: list(expanded(getattr(dataset, part))) for part in SUBSETS}
    encoder = _encoder(order.backbone)
    kinds = _kinds(order, sources["abnormal"])
    path = order.store / f"{order.plan.name}-{order.space}-{_key(order, encoder, sources, kinds)[:16]}.npz"
    if not path.exists():
        _write(order, encoder, sources, kinds, path)
    with np.load(path) as file:
        sizes = tuple(int(n) for n in file["sizes"])
        prepared = Prepared(
            path,
            str(file["digest"]),
            (sizes[0], sizes[1], sizes[2]),
            tuple(file["unreadable"].tolist()),
            tuple(filter(None, np.unique(file["kinds"]).tolist())),
        )
    empty = [part for part, size in zip(SUBSETS, sizes, strict=True) if size < 2]
    if empty:
        raise DataError(f"{order.data / order.plan.folder}: fewer than two usable images for {empty[0]}")
    return prepared


@lru_cache(maxsize=1)
def _encoder(plan: BackbonePlan) -> Encoder:
    networks = (load_backbone(name, plan.checkpoint or None) for name in plan.networks)
    return Encoder(tuple(networks), tuple(map(FeatureSpec.parse, plan.looks)))


@lru_cache(maxsize=4)
def load(path: Path) -> tuple[Split, NDArray[np.int64]]:
    """Read what `prepare` kept: the subsets, and the spans of the feature maps in an embedding."""
    with np.load(path) as file:
        train, normal, abnormal = (Subset(file[f"{name}/rows"], file[f"{name}/patients"]) for name in SUBSETS)
        return Split(train, normal, abnormal, file["kinds"]), file["spans"]


def _write(order: Order, encoder: Encoder, sources: dict[str, list[Any]], kinds: list[str], path: Path) -> None:
    order.store.mkdir(parents=True, exist_ok=True)
    extract = SPACES[order.space](encoder, EmbeddingCache(order.store / "embeddings"), order.device)
    arrays: dict[str, NDArray[Any]] = {}
    names: dict[str, list[str]] = {}
    errors: list[str] = []
    for part in SUBSETS:
        found = list(extract(sources[part]))
        kept = [number for number, (row, _) in enumerate(found) if row is not None]
        errors += [error for _, error in found if error is not None]
        arrays[f"{part}/rows"] = np.array([found[number][0] for number in kept])
        names[part] = [_patient(sources[part][number], order.plan) for number in kept]
        if part == "abnormal":
            arrays["kinds"] = np.array([kinds[number] for number in kept], dtype=np.str_)
    known = {name: number for number, name in enumerate(sorted({name for part in names.values() for name in part}))}
    for part in SUBSETS:
        arrays[f"{part}/patients"] = np.array([known[name] for name in names[part]], dtype=np.int64)
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode() + np.ascontiguousarray(array).tobytes())
    with writing(path, keep=True) as unfinished, unfinished.open("wb") as file:
        np.savez(
            file,
            **arrays,  # type: ignore[arg-type]
            digest=np.array(digest.hexdigest()),
            sizes=np.array([len(names[part]) for part in SUBSETS]),
            unreadable=np.array(errors, dtype=np.str_),
            spans=SPANS.get(order.space, _no_spans)(encoder),
        )


def _key(order: Order, encoder: Encoder, sources: dict[str, list[Any]], kinds: list[str]) -> str:
    """Return the key of a file: pictures, encoder, patients and kinds decide it; pictures go by name, size and time."""
    digest = hashlib.sha256(
        f"{_FORMAT} {order.space} {encoder.sha256} {order.plan.patient} {order.plan.starts} {kinds}\n".encode()
    )
    for part in SUBSETS:
        for source in sources[part]:
            digest.update(f"{part} {source}{_stamp(source)}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _stamp(source: Any) -> str:
    path = source.path if isinstance(source, Part) else str(source).partition("#")[0]
    with suppress(OSError):
        stat = os.stat(path)
        return f" {stat.st_size} {stat.st_mtime_ns}"
    return ""


def _patient(source: Any, plan: SetPlan) -> str:
    own = source.volume if isinstance(source, Part) else str(source)
    return plan.patient_of(Path(own).name) or own


def _kinds(order: Order, sources: list[Any]) -> list[str]:
    """Return the kind of each abnormal image, empty where nothing tells it: a table, its name or its folder."""
    paths = [Path(source.volume if isinstance(source, Part) else str(source)) for source in sources]
    named = [order.plan.kind_of(path.name) for path in paths]
    folders = [path.parent.name for path in paths]
    if order.plan.kind is None and len(set(folders)) > 1:
        named = folders
    if order.kinds is None:
        return named
    return [order.kinds.group(str(path)) or kind for path, kind in zip(paths, named, strict=True)]


def _spans(encoder: Encoder) -> NDArray[np.int64]:
    """Return which columns of an embedding come from which feature map by which pooling."""
    widths = [block.width for block in EncoderSession(encoder, threads=1).blocks]
    ends = np.cumsum(widths)
    return np.stack([ends - widths, ends], axis=1).astype(np.int64)


def _no_spans(encoder: Encoder) -> NDArray[np.int64]:
    return np.empty((0, 2), np.int64)


def _shapes(encoder: Encoder, kind: str) -> NDArray[np.int64]:
    """Return the shapes of what heat maps keep of an image: (views, parts, 3), 0 where one has fewer axes."""
    shapes = NormalMaps(EncoderSession(encoder, threads=1), kind).shapes().values()
    return np.array([[(*shape, *[0] * (3 - len(shape))) for shape in view] for view in shapes], np.int64)


def _maps(encoder: Encoder, cache: EmbeddingCache, device: str, kind: str) -> Extract:
    session = EncoderSession(encoder, threads=1, device=device)
    if not session.mapped_views:
        raise DataError("no network of the backbone has feature maps; leave detectors of heat out")
    reader = NormalMaps(session, kind)
    return lambda sources: (
        (None if image.maps is None else image.maps.astype(np.float16), image.error)
        for image in embed_images(session, sources, workers=1, cache=cache, reader=reader)
    )


def _embeddings(encoder: Encoder, cache: EmbeddingCache, device: str) -> Extract:
    session = EncoderSession(encoder, threads=1, device=device)
    return lambda sources: (
        (image.embedding, image.error) for image in embed_images(session, sources, workers=1, cache=cache)
    )


def _patches(encoder: Encoder, cache: EmbeddingCache, device: str) -> Extract:
    backbone = next((one for one in encoder.backbones if set(PATCH_LEVELS) <= set(one.levels)), None)
    if backbone is None:
        raise DataError(f"no network of the backbone has {' and '.join(PATCH_LEVELS)}; leave padim and patchcore out")
    session = EmbeddingSession(backbone, 1, device)

    def extract(sources: list[Any]) -> Iterator[tuple[Row, str | None]]:
        remaining = iter(sources)
        while batch := list(islice(remaining, session.batch)):
            read = [_pixels_of(source, backbone) for source in batch]
            usable = [pixels for pixels, _ in read if pixels is not None]
            rows = iter(_middle_maps(session, np.stack(usable)) if usable else ())
            yield from ((None if pixels is None else next(rows), error) for pixels, error in read)

    return extract


def _pixels_of(source: Any, backbone: Backbone) -> tuple[NDArray[np.float32] | None, str | None]:
    try:
        return to_input(read_pixels(source), backbone.input_size), None
    except ImageError as error:
        return None, str(error)


def _middle_maps(session: EmbeddingSession, batch: NDArray[np.float32]) -> NDArray[np.float16]:
    """Put the middle maps side by side on the grid of the coarser one: (n, places, channels)."""
    maps = list(session.run(batch, PATCH_LEVELS).values())
    grid = maps[-1].shape[2:]
    joined = np.concatenate([_coarser(level, grid) for level in maps], axis=1)
    return joined.reshape(*joined.shape[:2], -1).transpose(0, 2, 1).astype(np.float16)


def _coarser(maps: NDArray[np.float32], grid: tuple[int, ...]) -> NDArray[np.float32]:
    """Average maps (n, c, h, w) over the cells of a coarser grid."""
    for axis, cells in zip((2, 3), grid, strict=True):
        starts = np.arange(cells) * maps.shape[axis] // cells
        counts = np.diff(np.append(starts, maps.shape[axis])).astype(np.float32)
        shape = [1, 1, 1, 1]
        shape[axis] = cells
        maps = np.asarray(np.add.reduceat(maps, starts, axis=axis) / counts.reshape(shape), dtype=np.float32)
    return maps


def _small_pictures(encoder: Encoder, cache: EmbeddingCache, device: str) -> Extract:
    def one(source: Any) -> tuple[Row, str | None]:
        try:
            return to_input(read_pixels(source), PIXELS).mean(axis=0), None
        except ImageError as error:
            return None, str(error)

    return lambda sources: map(one, sources)


def _files(encoder: Encoder, cache: EmbeddingCache, device: str) -> Extract:
    def one(source: Any) -> tuple[Row, str | None]:
        if not isinstance(source, Path):
            raise DataError(f"{source}: is no file of its own, which anomalib's models need; leave them out")
        return np.array(str(source.resolve())), None

    return lambda sources: map(one, sources)


SPACES: dict[str, Callable[[Encoder, EmbeddingCache, str], Extract]] = {
    "embedding": _embeddings,
    "patches": _patches,
    "places": partial(_maps, kind="places"),
    "tokens": partial(_maps, kind="subspace"),
    "pixels": _small_pictures,
    "files": _files,
}
SPANS: dict[str, Callable[[Encoder], NDArray[np.int64]]] = {
    "embedding": _spans,
    "places": partial(_shapes, kind="places"),
    "tokens": partial(_shapes, kind="subspace"),
}
