"""Fetch a public data set: download, check, unpack, and see that it can be read."""

from __future__ import annotations

from pathlib import Path

from msde.datasets.archive import unpack
from msde.datasets.catalog import CatalogEntry, known_sets, normal_labels
from msde.datasets.download import Progress, download, silent
from msde.datasets.reader import read_dataset
from msde.errors import DataError


def find_known(name: str) -> CatalogEntry:
    """Find a public set by its name, in upper or lower case; raise DataError if there is none."""
    sets = known_sets()
    entry = next((entry for key, entry in sets.items() if key.lower() == name.lower()), None)
    if entry is None:
        names = ", ".join(key for key in sets if not key.rpartition("_")[2].isdigit())
        raise DataError(f"unknown data set {name!r}; known are {names}, those of MedMNIST also with _64, _128 or _224")
    return entry


def fetch_set(entry: CatalogEntry, folder: Path, mirror: str | None = None, progress: Progress = silent) -> str:
    """Download and unpack a set into a folder; archives that are there already are checked and used.

    `mirror` is the address of a folder with the same archives; a step of the progress is a megabyte. Returns in words
    where the set is and what it holds. Raises DataError where it cannot be had, is not what its publisher states,
    cannot be unpacked safely or cannot be read.
    """
    target = folder / entry.into
    packed = [folder / archive.name for archive in entry.archives]
    if target in packed or not target.exists():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for archive, path in zip(entry.archives, packed, strict=True):
                url = f"{mirror.rstrip('/')}/{archive.name}" if mirror else archive.url
                download(url, path, archive.md5, progress)
        except OSError as error:
            raise DataError(f"{folder}: cannot be written ({error.strerror or error}); choose another folder") from None
        if target not in packed:
            unpack(packed, folder, entry.into)
    return f"{target}: {_summary(target)}"


def _summary(target: Path) -> str:
    if target.suffix == ".npz" and not normal_labels(target.stem):
        return "its normal classes have to be named by --normal"
    dataset = read_dataset(target)
    return f"{len(dataset.train)} images to train on, {len(dataset.normal)} normal and {len(dataset.abnormal)} abnormal"
