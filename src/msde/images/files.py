"""One image file: told by its content, looked into and decoded by the reader of its format."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import NamedTuple

from msde.errors import ImageError
from msde.images.decoder_warnings import decoders_silenced
from msde.images.formats import DICOM, MIRAX, NAMES, SIGNATURE_BYTES, Format, by_suffix, recognise
from msde.images.passing import note
from msde.images.samples import MAX_PIXELS, Samples

MAX_PARTS = 100_000
"""Slices, frames, pages or tiles that a file may hold."""
FEW_PARTS, BYTES_A_PART = 100, 32
"""More than a few parts need so many bytes of the file each: 2 KB, packed, can state slices by the ten thousand."""


_REDUCING = ".raster"  # the reader that may give fewer pixels
_EXTRA = {"DICOM": "dicom", "NIfTI": "nifti", "TIFF": "slides"}


class FaultError(ValueError):
    """What is wrong with a file, in words that quote nothing of it."""


@dataclass(frozen=True)
class Slice:
    """What a file states of its place; equal for copies of one instance.

    Parameters
    ----------
    series, instance : str
        UIDs; the instance's may be empty.
    shape : tuple of int
        Rows and columns.
    axes : tuple of six floats or None
        Direction cosines of rows and columns; None where they are missing or no directions.
    position : tuple of three floats or None
        Of the first pixel, in mm; None where it is missing or malformed.
    number : float
        Instance number, 0 where there is none.
    """

    series: str
    instance: str
    shape: tuple[int, int]
    axes: tuple[float, ...] | None
    position: tuple[float, ...] | None
    number: float


class Contents(NamedTuple):
    """What a file holds.

    Parameters
    ----------
    parts : sequence of str
        Labels of its slices, frames, pages or tiles; empty where the file is one picture.
    as_slice : Slice, optional
        What the file states of itself as a slice of a series.
    sound : bool
        False where it claims to be DICOM and cannot be read.
    """

    parts: Sequence[str] = ()
    as_slice: Slice | None = None
    sound: bool = True


def look_into(path: str | os.PathLike[str], name: str) -> Contents | None:
    """Tell what a file holds, without decoding pixels.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    name : str
        What an error calls it.

    Returns
    -------
    Contents or None
        None where the file is sound but holds no picture, such as a DICOM report.

    Raises
    ------
    ImageError
        Its header cannot be read, or a library for it is missing.
    """
    form = format_of(path, name)
    with decoders_silenced(), guarded(name, form.name):
        contents: Contents | None = reader_of(form).look_into(os.fspath(path), form, name)
    if contents and len(contents.parts) > MAX_PARTS:
        raise ImageError(f"{name}: holds {len(contents.parts):,} pictures, over the limit of {MAX_PARTS:,}; split it")
    size = os.path.getsize(path)
    if contents and form is not MIRAX and len(contents.parts) > max(FEW_PARTS, size // BYTES_A_PART):
        raise ImageError(
            f"{name}: states {len(contents.parts):,} pictures in {size:,} bytes, which can show nothing; leave it out"
        )
    return contents


def check_whole(path: str | os.PathLike[str], name: str) -> None:
    """Check that a DICOM picture goes on to its end, without decoding it.

    Raises
    ------
    ImageError
        It does not, or is stored in a way that is not read.
    """
    with decoders_silenced(), guarded(name, DICOM.name):
        reader_of(DICOM).check_whole(os.fspath(path), name)


def decode_file(path: str | os.PathLike[str], name: str, part: str | None = None, at_most: int = MAX_PIXELS) -> Samples:
    """Decode one picture of a file in one of the formats of `msde.images.formats`.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    name : str
        What an error calls it.
    part : str, optional
        One of the labels that `look_into` gave; by default the only picture.
    at_most : int, optional
        Pixels beyond which a reader may give a picture of fewer, to be shown in less memory.

    Returns
    -------
    Samples
        The picture, upright.

    Raises
    ------
    ImageError
        No readable, whole picture within the limits.
    """
    form = format_of(path, name)
    with decoders_silenced(), guarded(name, form.name):
        reader = reader_of(form)
        fewer = {} if at_most >= MAX_PIXELS or not reader.__name__.endswith(_REDUCING) else {"at_most": at_most}
        samples: Samples = reader.decode(os.fspath(path), form, part, name, **fewer)
        return samples


def format_of(path: str | os.PathLike[str], name: str) -> Format:
    """Tell a file's format by its content.

    Raises
    ------
    ImageError
        It cannot be opened, or is in none of the formats that are read.
    """
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise ImageError(f"{name}: is a folder, not an image; give the images in it")
        if not stat.S_ISREG(status.st_mode):  # opening a pipe or a device would wait for ever
            raise ImageError(f"{name}: is no regular file; give an image file")
        if status.st_size == 0:
            raise ImageError(f"{name}: is empty (0 bytes); copy or export it again")
        with open(path, "rb") as file:
            form = recognise(file.read(SIGNATURE_BYTES))
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        note(error)
        raise _unopened(name, error) from None
    if by_suffix(os.fspath(path)) is MIRAX:
        return MIRAX
    if form is None and by_suffix(os.fspath(path)) is DICOM:
        return DICOM  # an old one may lack the signature
    if form is None:
        raise ImageError(f"{name}: is not an image in a format that is read ({NAMES}); convert it to PNG")
    return form


def numbered(n: int) -> list[str]:
    """Give the labels of n slices, frames or pages, or none where there is only one."""
    return [f"{k:03}" for k in range(n)] if n > 1 else []


def number_of(part: str | None, n: int, name: str, kind: str) -> int:
    """Give the number that a label stands for.

    Raises
    ------
    ImageError
        Several to choose from and no label, or no such one.
    """
    if part is None and n == 1:
        return 0
    if part is None:
        raise ImageError(f"{name}: holds {n} {kind} where one is expected; name one, such as {name}#000")
    if not (part.isascii() and part.isdigit() and int(part) < n):
        raise ImageError(f"{name}: there is no such part among its {n} {kind}; count from #000")
    return int(part)


def whole(name: str, part: str | None) -> str:
    """Give the name of the file in the name of its part."""
    return name if part is None else name.removesuffix(f"#{part}")


@contextmanager
def guarded(name: str, kind: str) -> Iterator[None]:
    """Turn whatever goes wrong with an image into one line about it, so that it never ends a run.

    Of a decoder's words only the kind of error is kept, because they may quote what a file says of the patient.

    Parameters
    ----------
    name : str
        What an error calls the image.
    kind : str
        Its format.

    Raises
    ------
    ImageError
        In place of every error but memory that runs out.
    """
    try:
        yield
    except Exception as error:
        note(error)
        if isinstance(error, ImageError | MemoryError):
            raise
        raise _in_one_line(error, name, kind) from None


def _in_one_line(error: Exception, name: str, kind: str) -> ImageError:
    if isinstance(error, ImportError):
        return missing(name, kind, _EXTRA.get(kind, "slides"))
    if isinstance(error, FaultError):
        return damaged(name, kind, str(error))
    if isinstance(error, OSError) and error.errno:
        return _unopened(name, error)
    return damaged(name, kind, type(error).__name__)


def damaged(name: str, form: str, reason: str) -> ImageError:
    """Give the error for a file that cannot be decoded."""
    return ImageError(f"{name}: damaged or truncated {form} image ({reason}); copy or export it again")


def missing(name: str, what: str, extra: str) -> ImageError:
    """Give the error for a library that is not installed."""
    return ImageError(f"{name}: reading {what} needs a further library; run `pip install 'msde[{extra}]'`")


def reader_of(form: Format) -> ModuleType:
    """Return the module that reads a format."""
    return import_module(form.reader)


def _unopened(name: str, error: Exception) -> ImageError:
    reason = getattr(error, "strerror", None) or str(error)
    return ImageError(f"{name}: cannot be opened ({reason}); check the path and its permissions")
