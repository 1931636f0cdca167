"""Layouts that are folders and nothing else, as a table: one folder for each split and class."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from msde.datasets.dataset import Dataset
from msde.datasets.paths import by_name, composed, images_in, names_in
from msde.errors import DataError
from msde.images import Part


class Layout(NamedTuple):
    """One layout; paths are relative to the set's folder, with ``/``.

    A mask's rule is a pattern of an image's path without suffix, and the path of its mask without suffix.
    """

    name: str
    train: str
    normal: str
    abnormal: str  # its last part may be *: every folder but those of the normals
    masks: tuple[tuple[str, str], ...] = ()
    unused: str | None = None


LAYOUTS = (
    Layout(
        "normal and abnormal",
        "train/normal",
        "test/normal",
        "test/abnormal",
        (("test/abnormal/(.+)", r"test/mask/\1"),),
    ),
    Layout(
        "BraTS2021",
        "train",
        "test/normal",
        "test/tumor",
        (("test/tumor/(.*)flair(.*)", r"test/annotation/\1seg\2"),),
    ),
    Layout(
        "BMAD with masks",
        "train/good/img",
        "test/good/img",
        "test/Ungood/img",
        (
            ("test/Ungood/img/(.+)", r"test/Ungood/anomaly_mask/\1"),
            ("test/Ungood/img/(.+)", r"test/Ungood/label/\1"),
        ),
        unused="valid",
    ),
    Layout("good and Ungood", "train/good", "test/good", "test/Ungood", unused="valid"),
    Layout(
        "MVTec",
        "train/good",
        "test/good",
        "test/*",
        (("test/(.+)/(.+)", r"ground_truth/\1/\2_mask"),),
    ),
)


def matches(root: Path) -> Layout | None:
    """Find the first layout all of whose folders are there, or None."""
    return next((layout for layout in LAYOUTS if not _missing(root, layout)), None)


def read(root: Path, name: str) -> Dataset | None:
    """Read a set that is in one of `LAYOUTS`, or give None.

    Raises DataError where a folder cannot be listed, or holds files and none is an image.
    """
    layout = matches(root)
    if layout is None:
        return None
    abnormal = tuple(image for folder in _abnormal(root, layout) for image in images_in(folder))
    masks, unclaimed = _masks(root, layout, abnormal)
    return Dataset(
        name,
        layout.name,
        images_in(root / layout.train),
        images_in(root / layout.normal),
        abnormal,
        masks,
        notes=tuple(_notes(root, layout, unclaimed)),
    )


def nearest(root: Path) -> str | None:
    """Return what a folder lacks of the layout that it is most like, or None where it is like none."""
    layout = min(LAYOUTS, key=lambda layout: len(_missing(root, layout)))
    missing = _missing(root, layout)
    if not missing or len(missing) == len(_folders_of(layout)):
        return None
    there = root
    for part in Path(missing[0]).parts[:-1]:
        there = there / part if (there / part).is_dir() else there
    found = ", ".join(names_in(there)[:8]) or "nothing"
    return (
        f"is like the layout {layout.name!r} but has no {missing[0]} ({there} holds {found}); name the folder so, and"
        " leave it empty if there is no such image"
    )


def _folders_of(layout: Layout) -> tuple[str, ...]:
    return layout.train, layout.normal, layout.abnormal.removesuffix("/*")


def _missing(root: Path, layout: Layout) -> list[str]:
    missing = [folder for folder in _folders_of(layout) if not _is_folder(root, folder)]
    if not missing and layout.abnormal.endswith("/*") and any(_has_folders(folder) for folder in _others(root, layout)):
        return [f"{layout.abnormal} without folders"]  # images and masks side by side: another layout, misspelt
    return missing


def _is_folder(root: Path, folder: str) -> bool:
    """Return whether a folder is there by exactly this name, on file systems too that do not tell cases apart."""
    there = root
    for part in folder.split("/"):
        if not (there.is_dir() and part in names_in(there)):
            return False
        there = there / part
    return there.is_dir()


def _has_folders(folder: Path) -> bool:
    return any((folder / name).is_dir() for name in names_in(folder))


def _abnormal(root: Path, layout: Layout) -> list[Path]:
    return _others(root, layout) if layout.abnormal.endswith("/*") else [root / layout.abnormal]


def _others(root: Path, layout: Layout) -> list[Path]:
    folder = root / layout.abnormal.removesuffix("/*")
    found = (folder / name for name in names_in(folder))
    return [path for path in found if path.is_dir() and path != root / layout.normal]


def _masks(root: Path, layout: Layout, images: Iterable[Path | Part]) -> tuple[dict[Path, Path], set[Path]]:
    """Map images to their masks, and give the files in the folders of masks that belong to no image."""
    files = cache(_by_stem)
    masks: dict[Path, Path] = {}
    folders: set[Path] = set()
    for image in images:
        if isinstance(image, Path):
            wanted = list(_mask_paths(root, layout, image))
            folders.update(mask.parent for mask in wanted)
            found = [files(mask.parent)[mask.name] for mask in wanted if mask.name in files(mask.parent)]
            if found:
                masks[image] = found[0]
    return masks, {path for folder in folders for path in files(folder).values()} - set(masks.values())


def _mask_paths(root: Path, layout: Layout, image: Path) -> Iterator[Path]:
    """Return the paths, without suffix, where the mask of an image may be."""
    stem = composed(image.relative_to(root).with_suffix("").as_posix())
    for pattern, template in layout.masks:
        if match := re.fullmatch(pattern, stem):
            yield root / match.expand(template)


def _by_stem(folder: Path) -> dict[str, Path]:
    """Map the files in a folder by their names without suffix; none if there is no such folder."""
    return {Path(name).stem: path for name, path in by_name(folder).items()} if folder.is_dir() else {}


def _notes(root: Path, layout: Layout, unclaimed: set[Path]) -> Iterator[str]:
    if unclaimed:
        yield f"{len(unclaimed)} masks belong to no abnormal image, such as {min(unclaimed).relative_to(root)}"
    if layout.unused and (root / layout.unused).is_dir():
        yield f"{layout.unused}/ is meant for choosing settings and is left out"


def check_folder(path: Path) -> Path:
    """Pass the path of a folder; raise DataError if there is none."""
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; unpack the set's archive again, its folders named as it has them")
    return path
