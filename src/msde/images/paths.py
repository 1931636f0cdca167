"""Find images: a file, a folder searched recursively, or a glob; and in them the slices of volumes."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from msde.errors import DataError, ImageError
from msde.images.files import Contents, look_into
from msde.images.formats import DICOM, SIGNATURE_BYTES, SUFFIXES, Format, by_suffix, recognise
from msde.images.passing import note
from msde.images.series import gathered
from msde.images.source import ONE_PICTURE, Part

_GLOB = re.compile(r"[*?\[]")
_LOOKED_FOR = " ".join(sorted(SUFFIXES))

Look = Callable[[Path], Contents | None]
Source = Path | Part
Tell = Callable[[str], object]


def find_images(paths: Iterable[str | os.PathLike[str]], tell: Tell | None = None) -> list[Source]:
    """List the images that paths name, each real file once.

    Files that hold several pictures, such as volumes, multi-frame DICOM and TIFF of several pages, are listed by their
    parts. DICOM files of one folder that are parallel slices of one series and size are the parts of a volume, in the
    order of their places, see :func:`msde.images.series.gathered`. It has the name of the folder, or
    ``FOLDER/series-1`` and so on where there are several. Copies of its slices are left out.

    Parameters
    ----------
    paths : iterable of str or os.PathLike
        Each a file (taken whatever its suffix), a folder (searched recursively) or a glob (``**`` crosses folders; a
        folder that matches is searched). Hidden files and folders are passed over in folders and globs, as are files
        without an image's suffix, but for DICOM files, which often have none, and DICOM objects without a picture.
        Links are followed, each folder once.
    tell : callable, optional
        Called with a line where copies are left out.

    Returns
    -------
    list of Path and Part
        In the order of the entries, sorted within each by path.

    Raises
    ------
    DataError
        An entry does not exist, cannot be listed or holds no image.
    """
    found: dict[str, Path] = {}
    look = cache(_contents)
    for entry in paths:
        for path in sorted(_images_of(Path(entry), look)):
            found.setdefault(os.path.realpath(path), path)
    if not found:
        raise DataError("no path given; name an image file, a folder or a glob")
    return _parts(list(found.values()), look, tell)


def _parts(paths: list[Path], look: Look, tell: Tell | None) -> list[Source]:
    """Put parts in place of files that hold several, and gather the slices of a series."""
    known = {path: contents for path in paths if (contents := look(path)) is not None}
    of_series = {path: contents.as_slice for path, contents in known.items() if contents.as_slice or not contents.sound}
    volumes, copies = gathered(of_series)
    if copies and tell is not None:
        tell(f"{len(copies)} copies of slices (same SOP Instance UID) are left out, such as {min(copies)}")
    placed: dict[Path, list[Source]] = {path: [] for path in copies}
    order = {path: number for number, path in enumerate(paths)}
    for name, volume in zip(_names([volume[0].path.parent for volume in volumes]), volumes, strict=True):
        placed |= {member.path: [] for member in volume}
        first = min((member.path for member in volume), key=order.__getitem__)
        placed[first] = [Part(name, str(member.path), None, member.fault) for member in volume]
    sources: list[Source] = []
    for path in paths:
        if path in placed:
            sources.extend(placed[path])
        else:
            labels = known[path].parts if path in known else ()
            sources.extend([Part(str(path), str(path), label) for label in labels] or [path])
    return sources


def _names(folders: list[Path]) -> Iterator[str]:
    """Name each volume by its folder, with a number where several are in one."""
    several, numbers = Counter(folders), Counter[Path]()
    for folder in folders:
        numbers[folder] += 1
        yield str(folder / f"series-{numbers[folder]}") if several[folder] > 1 else str(folder)


def _contents(path: Path) -> Contents | None:
    """Look into a file where there may be something to find; what cannot be read is left to the reader to say."""
    form = by_suffix(path.name)
    if form is not None and form.name in ONE_PICTURE:
        return Contents()
    try:
        return look_into(path, str(path))
    except ImageError:
        return Contents(sound=not (form is DICOM or (path.is_file() and _seen(path) is DICOM)))


def _images_of(entry: Path, look: Look) -> list[Path]:
    if os.path.isdir(entry):
        return _images_in(entry, look)
    if os.path.lexists(entry):
        return [entry]
    if not _GLOB.search(str(entry)):
        raise DataError(f"{entry}: no such file or folder; check the spelling and the current folder")
    images = list(_matches(entry, look))
    if not images:
        raise DataError(f"{entry}: the pattern matches no image (looked for {_LOOKED_FOR}); check the pattern")
    return images


def _images_in(folder: Path, look: Look) -> list[Path]:
    files = list(_files_below(folder, set()))
    images = [file for file in files if _is_image(file, look)]
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


def _matches(pattern: Path, look: Look) -> Iterator[Path]:
    parts = pattern.parts
    fixed = next(i for i, part in enumerate(parts) if _GLOB.search(part))
    base = Path(*parts[:fixed])
    if base.is_dir():
        for path in _matches_below(base, parts[fixed:]):
            if _is_image(path, look):
                yield path


def _matches_below(folder: Path, parts: tuple[str, ...]) -> Iterator[Path]:
    head, rest = parts[0], parts[1:]
    if head == "**":
        if not rest:
            yield from _files_below(folder, set())
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
            yield from _files_below(path, set())
        else:
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
        note(error)
        raise DataError(f"{folder}: cannot be listed ({error.strerror}); check its permissions") from None
    return [folder / name for name in names if hidden or not name.startswith(".")]


def _is_image(path: Path, look: Look) -> bool:
    """Tell by the suffix; DICOM files without one by their first bytes, and all DICOM by whether there is a picture."""
    form = by_suffix(path.name)
    if form is None and _may_lack_suffix(path.name):
        form = _seen(path)
    return form is not None and (form is not DICOM or look(path) is not None)


def _may_lack_suffix(name: str) -> bool:
    return "." not in name or not name.rpartition(".")[2].strip("0123456789")


def _seen(path: Path) -> Format | None:
    """Tell DICOM by its signature."""
    try:
        with open(path, "rb") as file:
            form = recognise(file.read(SIGNATURE_BYTES))
    except OSError as error:
        note(error)
        return None
    return form if form is DICOM else None
