"""Files by what is in them: each is on disk, whole and under its digest, before anything refers to it."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from msde.images import Part, expanded, find_images
from msde.serve.storage.tables import Image

SERIES = ".series"


@dataclass(frozen=True)
class Arrival:
    """A place for one upload.

    Parameters
    ----------
    file : Path
        Where to write the upload.
    """

    file: Path

    def folder(self, name: str) -> Path:
        """Make a folder beside the file; most uploads need none."""
        folder = self.file.with_suffix(".d") / name
        folder.mkdir(parents=True)
        return folder

    def clear(self) -> None:
        """Remove what is left."""
        if (folder := self.file.with_suffix(".d")).exists():
            shutil.rmtree(folder, ignore_errors=True)
        for left in (self.file, self.file.with_suffix(".dcm")):
            left.unlink(missing_ok=True)


class Store:
    """The folder of images, and one for what is arriving.

    Parameters
    ----------
    data : Path
        The service's data folder.
    """

    def __init__(self, data: Path) -> None:
        self.images = data / "images"
        self.incoming = data / "incoming"
        for folder in (self.images, self.incoming):
            folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def arriving(self) -> Iterator[Arrival]:
        """Make a place for a file and what is unpacked of it, removed at the end with what is left there."""
        arrival = Arrival(self.incoming / uuid.uuid4().hex)
        try:
            yield arrival
        finally:
            arrival.clear()

    def path(self, digest: str, suffix: str) -> Path:
        """Return where a file or series is kept."""
        return self.images / digest[:2] / f"{digest}{suffix}"

    def keep(self, file: Path, digest: str, suffix: str) -> None:
        """Move a file in; it is on disk when this returns."""
        self._settle(file, self.path(digest, suffix), [file])

    def keep_series(self, slices: Iterable[tuple[Path, str]], folder: Path) -> str:
        """Move the slices of a series in, given with their digests, by way of an empty folder; return its digest."""
        digests = []
        for number, (file, digest) in enumerate(sorted(slices, key=lambda slice_: slice_[1])):
            file.rename(folder / f"{number:06}{file.suffix}")
            digests.append(digest)
        whole = hashlib.sha256("\n".join(digests).encode()).hexdigest()
        self._settle(folder, self.path(whole, SERIES), sorted(folder.iterdir()))
        return whole

    def sources(self, image: Image) -> list[Path | Part]:
        """List what a model reads: the image, or the slices of a volume."""
        path = self.path(image.digest, image.suffix)
        return find_images([path]) if image.suffix == SERIES else list(expanded([path]))

    def remove(self, digest: str, suffix: str) -> None:
        """Remove a file or series, if it is there."""
        path = self.path(digest, suffix)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def digests(self) -> set[str]:
        """List the digests of all files and series."""
        return {path.name.partition(".")[0] for path in self.images.glob("??/*")}

    def sweep(self, known: set[str]) -> int:
        """Remove what an interrupted process left behind, which is all whose digest is not known; count it."""
        for left in self.incoming.iterdir():
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink()
        lost = [path for path in self.images.glob("??/*") if path.name.partition(".")[0] not in known]
        for path in lost:
            digest, _, suffix = path.name.partition(".")
            self.remove(digest, f".{suffix}" if suffix else "")
        return len(lost)

    def _settle(self, source: Path, target: Path, contents: list[Path]) -> None:
        if target.exists():
            sync(target.parent)
            return
        for file in contents:
            sync(file)
        if source.is_dir():
            sync(source)
        if not target.parent.exists():
            target.parent.mkdir(exist_ok=True)
            sync(self.images)
        try:
            source.rename(target)
        except OSError:
            if not target.exists():  # a series that arrived twice at once
                raise
        sync(target.parent)


def sync(path: Path) -> None:
    """Write a file or folder to disk before going on."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
