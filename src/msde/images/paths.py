"""Find image files: a file, a folder searched recursively, or a glob."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from msde.errors import DataError
from msde.images.formats import SUFFIXES

_GLOB = re.compile(r"[*?\[]")
_LOOKED_FOR = " ".join(sorted(SUFFIXES))


def find_images(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """List the image files that paths name, each real file once.

    Parameters
    ----------
    paths : iterable of str or os.PathLike
        Each a file (taken whatever its suffix), a folder (searched recursively) or a glob (``**`` crosses folders; a
        folder that matches is searched). Hidden files and folders are passed over in folders and globs, as are files
        without an image's suffix. Links are followed, each folder once.

    Returns
    -------
    list of Path
        In the order of the entries, sorted within each by path.

    Raises
    ------
    DataError
        An entry does not exist, cannot be listed or holds no image.
    """
    found: dict[str, Path] = {}
    for entry in paths:
        for path in sorted(_images_of(Path(entry))):
            found.setdefault(os.path.realpath(path), path)
    if not found:
        raise DataError("no path given; name an image file, a folder or a glob")
    return list(found.values())


def _images_of(entry: Path) -> list[Path]:
    if os.path.isdir(entry):
        return _images_in(entry)
    if os.path.lexists(entry):
        return [entry]
    if not _GLOB.search(str(entry)):
        raise DataError(f"{entry}: no such file or folder; check the spelling and the current folder")
    images = list(_matches(entry))
    if not images:
        raise DataError(f"{entry}: the pattern matches no image (looked for {_LOOKED_FOR}); check the pattern")
    return images


def _images_in(folder: Path) -> list[Path]:
    files = list(_files_below(folder, set()))
    images = [file for file in files if _is_image(file)]
    if not images:
        held = f"holds {len(files)} file{'s'[: len(files) != 1]} but no image" if files else "is empty"
        raise DataError(f"{folder}: the folder {held} (looked for {_LOOKED_FOR}); give a folder with images")
    return images


def _files_below(folder: Path, seen: set[str]) -> Iterator[Path]:
    for path in _listed(folder, seen):
        if path.is_dir():
            yield from _files_below(path, seen)
        else:  # a broken link too: the reader says what is wrong with it
            yield path


def _matches(pattern: Path) -> Iterator[Path]:
    parts = pattern.parts
    fixed = next(i for i, part in enumerate(parts) if _GLOB.search(part))
    base = Path(*parts[:fixed])
    if base.is_dir():
        yield from _matches_below(base, parts[fixed:])


def _matches_below(folder: Path, parts: tuple[str, ...]) -> Iterator[Path]:
    head, rest = parts[0], parts[1:]
    if head == "**":
        if not rest:
            yield from filter(_is_image, _files_below(folder, set()))
        else:
            for start in _folders_below(folder, set()):
                yield from _matches_below(start, rest)
        return
    for path in _listed(folder, set(), hidden=head.startswith(".")):
        if not fnmatchcase(path.name, head):
            continue
        if rest:
            if path.is_dir():
                yield from _matches_below(path, rest)
        elif path.is_dir():
            yield from filter(_is_image, _files_below(path, set()))
        elif _is_image(path):
            yield path


def _folders_below(folder: Path, seen: set[str]) -> Iterator[Path]:
    yield folder
    for path in _listed(folder, seen):
        if path.is_dir():
            yield from _folders_below(path, seen)


def _listed(folder: Path, seen: set[str], *, hidden: bool = False) -> list[Path]:
    """List a folder in order, or nothing where it was seen before by another link."""
    real = os.path.realpath(folder)
    if real in seen:
        return []
    seen.add(real)
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror}); check its permissions") from None
    return [folder / name for name in names if hidden or not name.startswith(".")]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES
