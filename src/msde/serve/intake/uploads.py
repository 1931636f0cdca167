"""What arrives: a file, a zip or a set of files, checked before anything of it is kept."""

from __future__ import annotations

import gzip
import re
import shutil
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from msde.errors import DataError, ImageError
from msde.images import Part, find_images
from msde.images.decoder_warnings import decoders_silenced
from msde.images.files import check_whole, look_into
from msde.images.formats import DICOM, NIFTI, SIGNATURE_BYTES, Format, by_suffix, recognise
from msde.output.words import printable
from msde.serve.errors import ServiceError, Unsupported
from msde.serve.intake.zips import unpack
from msde.serve.settings import Settings
from msde.serve.storage.store import SERIES, Arrival, Store
from msde.storage.digests import digest_of

NAME_LENGTH = 400
OTHER = "other"
MODALITIES = frozenset(
    ("CR", "CT", "DX", "ECG", "ES", "GM", "IO", "IVUS", "MG", "MR", "NM", "OP", "OPT", "OT", "PT", "PX", "RF", "SM")
    + ("US", "XA", "XC")
)
"""Of DICOM; what a file states beyond them is counted as other, so that no sender makes up labels."""
_ZIP = re.compile(rb"(PK00|PK\x07\x08)?PK\x03\x04")
_GZIP = b"\x1f\x8b"
_ARCHIVES = {
    "tar": re.compile(rb".{257}ustar", re.DOTALL),
    "7z": re.compile(rb"7z\xbc\xaf\x27\x1c"),
    "rar": re.compile(rb"Rar!\x1a\x07"),
    "bzip2": re.compile(rb"BZh[1-9]"),
    "xz": re.compile(rb"\xfd7zXZ\x00"),
    "zstd": re.compile(rb"\x28\xb5\x2f\xfd"),
}


@dataclass(frozen=True)
class Kept:
    """A file or series in the store.

    Parameters
    ----------
    digest, suffix : str
        Where it is kept.
    name : str
        As the sender called it.
    format, modality : str
    """

    digest: str
    suffix: str
    name: str
    format: str
    modality: str


@dataclass(frozen=True)
class Refused:
    """A file that cannot be used, and why."""

    name: str
    reason: str


@dataclass
class Upload:
    """What came of an upload."""

    kept: list[Kept] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


def take(arrival: Arrival, name: str, store: Store, settings: Settings) -> Upload:
    """Move a file into the store; a zip is opened.

    Parameters
    ----------
    arrival : Arrival
        With the file.
    name : str
        As the sender calls it.
    store : Store
    settings : Settings
        With the limits.

    Raises
    ------
    Unsupported
        No image, nor a zip.
    TooLarge
        A zip over the limits.
    ServiceError
        A damaged or encrypted zip.
    """
    name = clean(name)
    with arrival.file.open("rb") as file:
        head = file.read(SIGNATURE_BYTES)
    if _ZIP.match(head):
        unpacked = arrival.folder("unpacked")
        names = {path: clean(inside) for path, inside in unpack(arrival.file, unpacked, settings, _safe_suffix).items()}
        return take_files(unpacked, names, name.removesuffix(".zip") or name, store, arrival)
    upload = Upload()
    upload.kept.append(_take_one(arrival.file, name, store))
    return upload


def take_files(unpacked: Path, names: dict[Path, str], whole: str, store: Store, arrival: Arrival) -> Upload:
    """Move a set of files into the store; slices of one series become one.

    Parameters
    ----------
    unpacked : Path
        Their folder; series are gathered within one folder.
    names : dict of Path to str
        What the sender calls each; a series is called as its folder there.
    whole : str
        What the sender calls the set.
    store : Store
    arrival : Arrival
        With room for what is made on the way.

    Returns
    -------
    Upload
    """
    upload = Upload()
    try:
        found = find_images([unpacked])
    except DataError:
        found = []
    series: dict[str, list[Path]] = {}
    single: dict[Path, None] = {}
    for source in found:
        if isinstance(source, Part) and source.label is None:
            series.setdefault(source.volume, []).append(Path(source.path))
        else:
            single[Path(source.path if isinstance(source, Part) else source)] = None
    for path in single:
        try:
            upload.kept.append(_take_one(path, names[path], store))
        except ServiceError as error:
            upload.refused.append(Refused(names[path], str(error)))
    used = set(single)
    folders = [PurePosixPath(names[slices[0]]).parent for slices in series.values()]
    for number, (slices, folder) in enumerate(zip(series.values(), folders, strict=True)):
        used |= set(slices)
        gathering = arrival.folder(f"series-{number + 1}")
        modality = _modality(slices[0])
        suffixed = [_suffixed(path, DICOM) for path in slices]
        digests = [(path, digest_of(path)) for path in suffixed]
        called = whole if folder.name == "" else str(folder)
        name = called if folders.count(folder) == 1 else f"{called}, series {folders[: number + 1].count(folder)}"
        upload.kept.append(Kept(store.keep_series(digests, gathering), SERIES, clean(name), DICOM.name, modality))
    for path, name in names.items():
        if path not in used:
            upload.refused.append(Refused(name, f"{name}: {_why_unused(path)}; leave it out"))
    return upload


def _why_unused(path: Path) -> str:
    """Say why a file of a set is left out, which for a readable slice can only be that another is the same."""
    try:
        contents = look_into(path, path.name)
    except ImageError:
        contents = None
    return "is a copy of another slice" if contents and contents.as_slice else "is no image in a format that is read"


def check_no_archive(path: Path, name: str) -> None:
    """Refuse an archive of another kind than zip, packed as a whole or not.

    Raises
    ------
    Unsupported
        It is one.
    """
    with path.open("rb") as file:
        head = file.read(SIGNATURE_BYTES)
    if head.startswith(_GZIP):
        with suppress(OSError, EOFError, zlib.error), gzip.open(path) as file:
            head = file.read(SIGNATURE_BYTES)
    for kind, signature in _ARCHIVES.items():
        if signature.match(head):
            raise Unsupported(f"{name}: is a {kind} archive, which is not opened; send its files in a zip")


def clean(name: str) -> str:
    """Make a sender's name one that can be stored and shown: of a path its end, printable and not too long."""
    return printable(name.encode("utf-8", "replace").decode()).strip()[-NAME_LENGTH:] or "unnamed"


def _take_one(path: Path, name: str, store: Store) -> Kept:
    with path.open("rb") as file:
        head = file.read(SIGNATURE_BYTES)
    form = recognise(head) or (DICOM if by_suffix(name) is DICOM else None)
    if form is None:
        check_no_archive(path, name)
        raise Unsupported(f"{name}: is no image in a format that is read, nor a zip of such; convert it to PNG")
    modality = OTHER
    if form in (DICOM, NIFTI):  # what begins like them may be something else
        path = _suffixed(path, form) if form is DICOM else path
        try:
            contents = look_into(path, name)
            if contents is not None and form is DICOM:
                check_whole(path, name)
        except ImageError as error:
            check_no_archive(path, name)
            raise Unsupported(str(error).replace(str(path), name)) from None
        if contents is None:
            raise Unsupported(f"{name}: is a DICOM object without a picture; leave it out")
        modality = _modality(path) if form is DICOM else OTHER
    digest, suffix = digest_of(path), _suffix(form, head)
    store.keep(path, digest, suffix)
    return Kept(digest, suffix, name, form.name, modality)


def _suffix(form: Format, head: bytes) -> str:
    return ".nii.gz" if form.name == "NIfTI" and head.startswith(_GZIP) else form.suffixes[0]


def _suffixed(path: Path, form: Format) -> Path:
    return path if path.suffix == form.suffixes[0] else path.rename(path.with_suffix(form.suffixes[0]))


def _modality(path: Path) -> str:
    from pydicom import dcmread

    try:
        with decoders_silenced():
            stated = dcmread(path, stop_before_pixels=True, force=True, specific_tags=["Modality"]).get("Modality")
    except Exception:  # pydicom raises whatever a damaged header leads to
        return OTHER
    return stated if stated in MODALITIES else OTHER


def _safe_suffix(name: str) -> str:
    form = by_suffix(name)
    return next(suffix for suffix in form.suffixes if name.lower().endswith(suffix)) if form else ""


def lay_out(files: Iterable[tuple[str, Path]], folder: Path) -> dict[Path, str]:
    """Put files into one folder under names of our own; return what the sender calls each."""
    names: dict[Path, str] = {}
    for number, (name, path) in enumerate(files):
        target = folder / f"{number:06}{_safe_suffix(name)}"
        shutil.move(path, target)
        names[target] = clean(name)
    return names
