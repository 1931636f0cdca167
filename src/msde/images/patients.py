"""Which images are of one patient: by their names, a table or DICOM headers."""

from __future__ import annotations

import csv
import hashlib
import os
import re
import secrets
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from msde.errors import DataError, ImageError
from msde.images.dicom_header import read_header, read_raw
from msde.images.formats import by_suffix
from msde.images.remembered import remembering, state_of
from msde.images.source import ONE_PICTURE, Part

Tell = Callable[[str], object]
Key = tuple[str, Hashable]
"""Where the name of a patient comes from, and its digest or label."""

PATTERN, TABLE, HEADER, STUDY = "pattern", "table", "header", "study"
MOST_ROWS = 10_000_000
_IN_HEADERS = {HEADER: "PatientID", STUDY: "StudyInstanceUID"}
_KEY_BYTES = 16


@dataclass(frozen=True)
class GroupTable:
    """A CSV file with the columns path and group, or another word for what paths belong to.

    Parameters
    ----------
    path : str
        The file.
    groups : mapping of str to str
        Group by real path, or by address. That of a folder holds for all below it that has none of its own.
    """

    path: str
    groups: Mapping[str, str]

    @classmethod
    def read(cls, path: str | os.PathLike[str], tell: Tell | None = None, column: str = "group") -> Self:
        """Read a table; its relative paths begin at its folder.

        Parameters
        ----------
        path : path-like
            CSV in UTF-8 with the columns ``path`` and the one named below; others are passed over.
        tell : callable, optional
            Called with a line where paths do not exist.
        column : str, default="group"
            Name of the column that says what a path belongs to.

        Raises
        ------
        DataError
            If it cannot be read, lacks a column or a value, or puts a path into two groups.
        """
        name, folder = os.fspath(path), Path(path).parent
        groups: dict[str, str] = {}
        gone = []
        try:
            with open(path, encoding="utf-8-sig", newline="") as file:
                for line, (entry, group) in _rows(csv.DictReader(file), name, column):
                    real = _real(entry if "://" in entry else os.path.join(folder, entry))
                    if groups.setdefault(real, group) != group:
                        raise DataError(
                            f"{name}, line {line}: {entry} is in another {column} before; give it one {column}"
                        )
                    if "://" not in entry and not os.path.lexists(real):
                        gone.append(entry)
                    if len(groups) > MOST_ROWS:
                        raise DataError(f"{name}: has more than {MOST_ROWS:,} rows; split the job")
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise DataError(f"{name}: cannot be read ({reason}); give a CSV file in UTF-8") from None
        if not groups:
            raise DataError(f"{name}: has no rows; give a path and a {column} in each")
        if gone and tell is not None:
            tell(f"{name}: {len(gone)} of its {len(groups)} paths do not exist, such as {gone[0]}")
        return cls(name, groups)

    @classmethod
    def of(cls, name: str, groups: Mapping[str, str]) -> Self:
        """Return a table of groups by path, named in errors."""
        return cls(name, {_real(path): group for path, group in groups.items()})

    def group(self, path: str) -> str | None:
        """Return the group of a file or address, that of the nearest folder above it, or None."""
        place, below = _real(path), ""
        while place != below:
            if place in self.groups:
                return self.groups[place]
            place, below = os.path.dirname(place), place
        return None


@dataclass(frozen=True)
class Patients:
    """How it is told which images are of one patient; several ways join.

    Parameters
    ----------
    pattern : str, optional
        Regular expression; what it finds in the path of a file, or its first group if it has one, names the patient.
    table : GroupTable, optional
        Names the patient of files and folders.
    headers : bool, default=True
        Whether DICOM files go by their PatientID, or by their StudyInstanceUID where that is blank.
    salt : str
        Hexadecimal. Nothing but digests with this salt is kept of what names a patient.

    Raises
    ------
    DataError
        If the pattern is no regular expression.
    """

    pattern: str | None = None
    table: GroupTable | None = None
    headers: bool = True
    salt: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)

    def __post_init__(self) -> None:
        """Refuse a pattern that is none."""
        try:
            re.compile(self.pattern or "")
        except re.error as error:
            raise DataError(f"{self.pattern!r} is no regular expression ({error}); correct it") from None

    @property
    def stated(self) -> bool:
        """Whether the user says how patients are told."""
        return self.pattern is not None or self.table is not None

    def keys(self, source: Any) -> frozenset[Key]:
        """Return what tells the patient of an image, to be settled by `settled`: images that share a key are of one.

        Parameters
        ----------
        source : path, Part or anything else
            An image in memory has no key.
        """
        if not isinstance(source, str | os.PathLike):
            return frozenset()
        names = {PATTERN: self._found(source), TABLE: self._tabled(source)}
        of_name = {(kind, self.digest(kind, name)) for kind, name in names.items() if name}
        return self.header_keys(source) | of_name

    def header_keys(self, path: str | os.PathLike[str]) -> frozenset[Key]:
        """Return what the header of a file, or of an image's file, tells of its patient, as `keys` does."""
        return frozenset((kind, self.digest(kind, name)) for kind, name in self._headed(path).items())

    def label(self, source: Any) -> str | None:
        """Return the name that the user's table or pattern gives a patient; None where neither does."""
        if not isinstance(source, str | os.PathLike):
            return None
        return self._tabled(source) or self._found(source)

    def _found(self, source: str | os.PathLike[str]) -> str | None:
        if self.pattern is None:
            return None
        found = re.search(self.pattern, Path(_file(source)).as_posix())
        return found and (found.group(1) if found.re.groups else found.group())

    def _tabled(self, source: str | os.PathLike[str]) -> str | None:
        if self.table is None:
            return None
        group = self.table.group(_file(source))
        return group if group or not isinstance(source, Part) else self.table.group(source.volume)

    def _headed(self, source: str | os.PathLike[str]) -> Mapping[str, bytes]:
        path = _file(source)
        form = by_suffix(path)
        if not self.headers or (form is not None and form.name in ONE_PICTURE):
            return {}
        try:
            return _stated(path, *state_of(path))
        except OSError:
            return {}

    def digest(self, kind: str, name: str | bytes) -> bytes:
        """Return the digest of a name of a kind."""
        name = name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")
        return hashlib.sha256(bytes.fromhex(self.salt) + kind.encode() + b"\0" + name).digest()[:_KEY_BYTES]


def settled(keys: Sequence[Collection[Key]], *, one_is_none: bool) -> tuple[list[frozenset[Key]], str | None]:
    """Decide between PatientID and study.

    Parameters
    ----------
    keys : sequence of collections of Key
        Of each image, as `Patients.keys` gives them.
    one_is_none : bool
        Whether a PatientID, or a study, that all DICOM images state tells nothing: normals are of many patients, so
        their files were anonymised alike then.

    Returns
    -------
    list of frozenset
        Without the study where a PatientID tells, and without what tells nothing.
    str or None
        What is to be told of that.
    """
    headers = [{key for key in of_image if key[0] in _IN_HEADERS} for of_image in keys]
    of_dicom = [stated for stated in headers if stated]
    alike: list[str] = []
    for kind in _IN_HEADERS if one_is_none and len(of_dicom) > 1 else ():
        if _is_one(kind, of_dicom):
            alike.append(kind)
        elif any(key[0] == kind for stated in of_dicom for key in stated):
            break
    chosen = []
    for of_image, stated in zip(keys, headers, strict=True):
        kinds = [kind for kind in _IN_HEADERS if kind not in alike and any(key[0] == kind for key in stated)]
        chosen.append(frozenset(key for key in of_image if key not in stated or key[0] in kinds[:1]))
    if not alike:
        return chosen, None
    what = " and one ".join(_IN_HEADERS[kind] for kind in alike)
    units = "as if they stated nothing" if STUDY in alike else "by study"
    return chosen, (f"all {len(of_dicom)} DICOM images state one {what}, as files anonymised alike do; they go {units}")


def _is_one(kind: str, of_dicom: Sequence[Collection[Key]]) -> bool:
    """Whether all DICOM images state the same of a kind."""
    first = {key for key in of_dicom[0] if key[0] == kind}
    return bool(first) and all(first <= set(stated) for stated in of_dicom)


def _real(path: str) -> str:
    return path if "://" in path else os.path.realpath(path)


def _file(source: str | os.PathLike[str]) -> str:
    """Return the file of an image, which may be given as VOLUME#PART."""
    part = source if isinstance(source, Part) else Part.named(os.fspath(source))
    return part.path if part is not None else os.fspath(source)


@remembering(64)
def _stated(path: str, *_: int) -> Mapping[str, bytes]:
    """Return what a DICOM header states of patient and study; one file may hold many frames."""
    try:
        header = read_header(path)
    except ImageError:
        return {}
    return {kind: raw for kind, keyword in _IN_HEADERS.items() if header and (raw := read_raw(header, keyword))}


def _rows(reader: csv.DictReader[str], name: str, column: str) -> Iterator[tuple[int, tuple[str, str]]]:
    columns = ("path", column)
    missing = [wanted for wanted in columns if wanted not in (reader.fieldnames or ())]
    if missing:
        named = ", ".join(reader.fieldnames or ()) or "nothing"
        raise DataError(
            f"{name}: has no column {' and none '.join(missing)} but {named}; name two {' and '.join(columns)}"
        )
    for row in reader:
        values = [(row[wanted] or "").strip() for wanted in columns]
        if not all(values):
            raise DataError(
                f"{name}, line {reader.line_num}: lacks its {' or '.join(columns)}; complete it or leave it out"
            )
        yield reader.line_num, (values[0], values[1])
