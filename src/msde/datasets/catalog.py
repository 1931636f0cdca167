"""The public sets that are known by name: what ``sets.toml`` says of them."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

_TABLE = Path(__file__).with_name("sets.toml")
_SIZED = re.compile(r"(.+?)(?:_(\d+))?")


class Archive(NamedTuple):
    """One file of a record."""

    url: str
    md5: str | None  # None where the publisher states none

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.url.split("?")[0].rpartition("/")[2]


class CatalogEntry(NamedTuple):
    """What is known of a public set."""

    name: str
    archives: tuple[Archive, ...]
    into: str  # the folder or file that they unpack to
    terms: str
    counts: tuple[int, int, int] | None = None  # normals to train on, normals and abnormal images to test on


def known_sets() -> dict[str, CatalogEntry]:
    """Return the sets that can be fetched, by name; the sizes of MedMNIST's are sets of their own."""
    table = _table()
    sets = {}
    for name, entry in table["medianomaly"].items():
        archives = tuple(Archive(url, md5 or None) for url, md5 in entry["archives"].items())
        sets[name] = CatalogEntry(name, archives, entry.get("into", name), entry["terms"], tuple(entry["counts"]))
    base, terms = table["medmnist"]["record"], table["medmnist"]["terms"]
    for name, entry in table["medmnist"]["sets"].items():
        for size, md5 in entry["md5"].items():
            sized = name if size == "28" else f"{name}_{size}"
            sets[sized] = CatalogEntry(sized, (Archive(f"{base}/{sized}.npz", md5),), f"{sized}.npz", terms)
    return sets


def published_counts(name: str) -> tuple[int, int, int] | None:
    """Return the published numbers of training normals, test normals and abnormal test images, or None."""
    entries = _table()["medianomaly"]
    counts = next((entry["counts"] for known, entry in entries.items() if known.lower() == name.lower()), None)
    return (counts[0], counts[1], counts[2]) if counts else None


def normal_labels(name: str) -> tuple[str, ...]:
    """Return the labels of the normal classes of a MedMNIST file by its name without suffix; empty if none is."""
    match = _SIZED.fullmatch(name)
    entry: dict[str, Any] = _table()["medmnist"]["sets"].get(match[1].lower(), {}) if match else {}
    return tuple(entry.get("normal", ()))


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(_TABLE.read_text(encoding="utf-8"))
