"""A data set looked over: counts, sizes, duplicates, masks, and what trivial statistics tell of its labels."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msde.datasets.catalog import published_counts
from msde.datasets.dataset import Dataset, Item
from msde.datasets.image_facts import ImageFacts, digest_of, measure
from msde.datasets.mask import fault, read_mask
from msde.datasets.near_duplicates import alike
from msde.datasets.statistic import STATISTICS
from msde.errors import ImageError
from msde.method.metrics import Metric, discrimination

LEAK = 0.6
"""Lower end of an AUROC's interval (folded to above one half) from which on size, form or file size count as a leak."""
TELLING = 0.7
"""The same for trivial statistics, which may differ because of the lesions themselves."""
KIND_SHARE = 0.1
"""Difference between the shares that a kind of file has in two classes from which on it counts as a leak."""
Found = tuple[Item, ImageFacts]
SPLITS = ("train", "normal", "abnormal")
SHOWN_DIGITS = 16
"""Of a fingerprint's 64: enough to tell sets apart by eye."""
_EXAMPLES = 5
_MIN_SPREAD = 1e-9
_EXPORT = "a leak, unless both classes were exported alike"

FORM: dict[str, Callable[[ImageFacts], float]] = {
    "file size": lambda image: float("nan") if image.n_bytes is None else float(image.n_bytes),
    "width x height": lambda image: float(image.width * image.height),
    "width / height": lambda image: image.width / image.height,
}
"""What should say nothing of an image's class at all."""


@dataclass(frozen=True)
class Telling:
    """What one number tells of an image's class."""

    # of test abnormal against test normal images, over one half where it is higher in abnormal ones; None where a class
    # is empty
    auroc: Metric | None
    # of test normals against training normals: over or under one half where their sources differ
    normals: Metric | None


@dataclass(frozen=True)
class Twins:
    """Pictures of two parts of a set that are the same or alike."""

    between: str  # such as "train and test"
    identical: int  # test images with equal samples
    alike: int  # further ones that look the same, such as after recompression
    examples: list[tuple[str, str]]  # the names of some pairs


@dataclass(frozen=True)
class Inspection:
    """What was found in a data set."""

    dataset: Dataset
    unreadable: list[str]  # one line for each image that cannot be read
    kinds: dict[str, dict[str, int]]  # split or class -> kind of file -> number
    sizes: dict[str, tuple[int, int, int, int]]  # split or class -> the least and largest width and height
    twins: list[Twins]
    mask_faults: dict[str, int]  # fault -> number of masks that have it
    # split or "masks" -> SHA-256 of the sorted digests of its decoded pictures: the same for the same pictures,
    # whatever their files are called, in which order they come and how they are compressed without loss
    fingerprints: dict[str, str]
    # of trivial statistics, file size and form, and "all five together": the length of the five as z-scores by the
    # training normals, which is what a detector of normals gets without looking
    telling: dict[str, Telling]

    def figures(self) -> dict[str, Any]:
        """Return what was found, ready for JSON."""
        dataset = self.dataset
        return {
            "name": dataset.name,
            "layout": dataset.layout,
            "n_train": len(dataset.train),
            "n_normal": len(dataset.normal),
            "n_abnormal": len(dataset.abnormal),
            "n_unlabelled_train": len(dataset.unlabelled_train),
            "n_masks": len(dataset.masks),
            "published": published_counts(dataset.name),
            "unreadable": self.unreadable,
            "kinds": self.kinds,
            "sizes": self.sizes,
            "duplicates": [asdict(twins) for twins in self.twins],
            "mask_faults": self.mask_faults,
            "fingerprints": self.fingerprints,
            "statistics": {name: asdict(telling) for name, telling in self.telling.items()},
            "notes": dataset.notes,
            "warnings": list(self.warnings()),
        }

    def lines(self) -> Iterator[str]:
        """Return what was found in words, a line each, without the warnings."""
        dataset = self.dataset
        yield f"{dataset.name}: layout {dataset.layout!r}"
        unlabelled = f", {len(dataset.unlabelled_train)} unlabelled" if dataset.unlabelled_train else ""
        yield f"  train       {len(dataset.train)} normal{unlabelled}"
        n_normal, n_abnormal = len(dataset.normal), len(dataset.abnormal)
        yield f"  test        {n_normal} normal, {n_abnormal} abnormal, {len(dataset.masks)} masks"
        for split in self.kinds:
            kinds = "; ".join(f"{number} {kind}" for kind, number in self.kinds[split].items())
            yield f"  {split:11} {_span(self.sizes[split])}: {kinds}"
        for split, fingerprint in self.fingerprints.items():
            yield f"  fingerprint {fingerprint[:SHOWN_DIGITS]} of {split}"
        for twins in self.twins:
            yield f"  twins       {twins.identical} identical and {twins.alike} alike in {twins.between}"
        yield from (f"  note        {note}" for note in dataset.notes)
        yield "  AUROC (95 % interval)   abnormal against normal    test normals against training normals"
        for name, telling in self.telling.items():
            yield f"  {name:22}  {_words(telling.auroc):25}  {_words(telling.normals)}"

    def warnings(self) -> Iterator[str]:
        """Return what makes results on this set doubtful, a sentence each."""
        dataset = self.dataset
        counts = (len(dataset.train), len(dataset.normal), len(dataset.abnormal))
        published = published_counts(dataset.name)
        if published and counts != published:
            yield f"{_join(counts)} images to train on, normal and abnormal, where {_join(published)} are published"
        for name, images in (("normal", dataset.normal), ("abnormal", dataset.abnormal)):
            if not images:
                yield f"no {name} images to test on: no AUROC can be computed"
        yield from (f"{number} masks {fault}" for fault, number in self.mask_faults.items())
        without = len(dataset.abnormal) - len(dataset.masks)
        if dataset.masks and without:
            yield f"{without} abnormal images have no mask; score pixels only where there is one"
        for twins in self.twins:
            if twins.identical + twins.alike:
                first, second = twins.examples[0]
                total = twins.identical + twins.alike
                yield f"{total} images are the same or alike in {twins.between}, such as {first} and {second}"
        yield from self._kind_warnings()
        for name, telling in self.telling.items():
            yield from _telling_warnings(name, telling)

    def _kind_warnings(self) -> Iterator[str]:
        for first, second in (("normal", "abnormal"), ("train", "normal")):
            one, other = _shares(self.kinds.get(first)), _shares(self.kinds.get(second))
            apart = {kind: abs(one.get(kind, 0) - other.get(kind, 0)) for kind in {**one, **other}}
            kind = max(apart, key=lambda kind: apart[kind], default="")
            if one and other and apart[kind] >= KIND_SHARE:
                yield (
                    f"{one.get(kind, 0):.0%} of the {first} and {other.get(kind, 0):.0%} of the {second} images"
                    f" are {kind}: a leak, unless both were exported alike"
                )


def inspect_dataset(dataset: Dataset, tick: Callable[[], None] | None = None) -> Inspection:
    """Look over a data set: read each image and mask once; `tick` is called after each image."""
    splits: dict[str, tuple[Item, ...]] = {name: getattr(dataset, name) for name in SPLITS}
    items = [item for images in splits.values() for item in images]
    results: list[ImageFacts | ImageError] = []
    for result in measure(items):
        results.append(result)
        if tick is not None:
            tick()
    rows = zip(items, results, strict=True)
    found = {
        name: [(item, result) for item, result in islice(rows, len(images)) if isinstance(result, ImageFacts)]
        for name, images in splits.items()
    }
    values = {name: [image for _, image in part] for name, part in found.items()}
    faults, masks = _masks(dataset, found["abnormal"])
    digests = {name: [image.likeness.digest for image in part] for name, part in values.items()} | {"masks": masks}
    return Inspection(
        dataset,
        [str(result) for result in results if isinstance(result, ImageError)],
        {name: dict(Counter(image.kind for image in part).most_common()) for name, part in values.items() if part},
        {name: _sizes(part) for name, part in values.items() if part},
        [
            _twins("train and test", [*found["normal"], *found["abnormal"]], found["train"]),
            _twins("test normal and test abnormal", found["abnormal"], found["normal"]),
        ],
        faults,
        {name: _fingerprint(part) for name, part in digests.items() if part},
        dict(_tellings(values)),
    )


def _shares(kinds: dict[str, int] | None) -> dict[str, float]:
    return {kind: number / sum(kinds.values()) for kind, number in kinds.items()} if kinds else {}


def _sizes(images: Sequence[ImageFacts]) -> tuple[int, int, int, int]:
    widths, heights = ([getattr(image, side) for image in images] for side in ("width", "height"))
    return min(widths), max(widths), min(heights), max(heights)


def _twins(between: str, first: Sequence[Found], second: Sequence[Found]) -> Twins:
    pairs = alike([image.likeness for _, image in first], [image.likeness for _, image in second])
    pairs.sort(key=lambda pair: -pair.correlation)
    n_identical = sum(pair.identical for pair in pairs)
    examples = [(_short(first[pair.first][0]), _short(second[pair.second][0])) for pair in pairs[:_EXAMPLES]]
    return Twins(between, n_identical, len(pairs) - n_identical, examples)


def _masks(dataset: Dataset, abnormal: Sequence[Found]) -> tuple[dict[str, int], list[bytes]]:
    """Count the faults of the masks, and give the digests of those that can be read."""
    faults: Counter[str] = Counter()
    digests = []
    for item, image in abnormal:
        path = dataset.masks.get(item) if isinstance(item, Path) else None
        if path is not None:
            mask = read_mask(path)
            found = fault(mask, image.width, image.height)
            faults.update([found] if found else [])
            digests += [] if mask is None else [digest_of(mask)]
    return dict(faults), digests


def _fingerprint(digests: Iterable[bytes]) -> str:
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()


def _tellings(values: dict[str, list[ImageFacts]]) -> Iterator[tuple[str, Telling]]:
    """Measure what each number tells, and then all five trivial statistics as a one-class detector."""
    trivial = {
        name: np.array([image.statistics for image in part]).reshape(-1, len(STATISTICS))
        for name, part in values.items()
    }
    for column, name in enumerate(STATISTICS):
        yield name, _telling({split: part[:, column] for split, part in trivial.items()})
    yield "all five together", _telling(_distances(trivial))
    for name, form in FORM.items():
        yield name, _telling({split: np.array([form(image) for image in part]) for split, part in values.items()})


def _distances(trivial: dict[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Return the length of the z-scores by the training normals, one an image."""
    train = trivial["train"]
    if not len(train):
        return {name: np.full(len(part), np.nan) for name, part in trivial.items()}
    mean, spread = train.mean(axis=0), np.maximum(train.std(axis=0), _MIN_SPREAD)
    return {name: np.linalg.norm((part - mean) / spread, axis=1) for name, part in trivial.items()}


def _telling(values: dict[str, NDArray[np.float64]]) -> Telling:
    known = {name: part[np.isfinite(part)] for name, part in values.items()}
    return Telling(_auroc(known["normal"], known["abnormal"]), _auroc(known["train"], known["normal"]))


def _auroc(lower: NDArray[np.float64], upper: NDArray[np.float64]) -> Metric | None:
    return discrimination(lower, upper).auroc if len(lower) and len(upper) else None


def _telling_warnings(name: str, telling: Telling) -> Iterator[str]:
    limit, kind = (LEAK, _EXPORT) if name in FORM else (TELLING, "report it beside results")
    if telling.auroc and _folded_low(telling.auroc) > limit:
        yield f"{name} alone tells the classes apart, AUROC {telling.auroc.value:.3f}: {kind}"
    if telling.normals and _folded_low(telling.normals) > limit:
        auroc = telling.normals.value
        yield f"{name} tells the normals of test and train apart, AUROC {auroc:.3f}: their sources may differ"


def _folded_low(metric: Metric) -> float:
    """Return the end of the interval that is nearer to one half, folded to above it."""
    return metric.low if metric.value >= 0.5 else 1 - metric.high


def _span(sizes: tuple[int, int, int, int]) -> str:
    (least, most, lowest, highest) = sizes
    width = str(least) if least == most else f"{least}-{most}"
    height = str(lowest) if lowest == highest else f"{lowest}-{highest}"
    return f"{width} x {height} px"


def _words(metric: Metric | None) -> str:
    return f"{metric.value:.3f} ({metric.low:.3f} to {metric.high:.3f})" if metric else "undefined"


def _join(counts: Iterable[int]) -> str:
    return " + ".join(map(str, counts))


def _short(item: Item) -> str:
    name = item.name if isinstance(item, Path) else str(item)
    return name if name.isprintable() else ascii(name)[1:-1]
