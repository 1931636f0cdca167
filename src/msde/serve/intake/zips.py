"""A zip: looked through before anything of it is unpacked, so that work stays in proportion to what was sent."""

from __future__ import annotations

import errno
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import IO

from msde.serve.errors import ServiceError, TooLarge
from msde.serve.settings import Settings

_BLOCK = 1 << 20
_ENTRY = b"PK\x01\x02"
_ENTRIES_A_FILE, _BYTES_A_FILE = 4, 1_000  # of the list at a zip's end: folders and hidden files are in it too
_HEAD_BYTES = 30  # before each file, its name aside
_NOT_ZIP = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError, OSError, OverflowError)


class _Bounded(io.FileIO):
    """A file that refuses to give a long list of files, wherever the zip's last records say that it is.

    There are several such records, which may contradict each other; what counts is what `zipfile` makes of them.
    """

    files: int | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as a file does."""
        if self.files is not None and size is not None and size > self.files * _BYTES_A_FILE:
            raise _too_many(self.files)
        found = super().read(-1 if size is None else size) or b""
        if self.files is not None and found.count(_ENTRY) > self.files * _ENTRIES_A_FILE:
            raise _too_many(self.files)
        return found


def unpack(path: Path, folder: Path, settings: Settings, suffix_of: Callable[[str], str]) -> dict[Path, str]:
    """Unpack a zip into files of our own naming.

    Parameters
    ----------
    path : Path
        The zip.
    folder : Path
        Where to.
    settings : Settings
        With the limits.
    suffix_of : callable
        Gives the suffix with which a file of a name is kept.

    Returns
    -------
    dict of Path to str
        What the zip calls each, which is only ever to be shown.

    Raises
    ------
    TooLarge
        It is over the limits.
    ServiceError
        It is damaged or encrypted, or its files overlap.
    """
    names: dict[Path, str] = {}
    room = settings.unpacked_bytes
    try:
        with _Bounded(path) as file:
            file.files = settings.files
            archive = zipfile.ZipFile(file)
            file.files = None
            members = _checked(archive.infolist(), settings)
            folders: dict[str, Path] = {}
            for number, member in enumerate(members):
                parent = str(PurePosixPath(member.filename).parent)
                inside = folders.setdefault(parent, folder / f"{len(folders):06}")
                inside.mkdir(parents=True, exist_ok=True)
                target = inside / f"{number:06}{suffix_of(member.filename)}"
                with archive.open(member) as packed, target.open("wb") as copy:
                    room -= _copy(packed, copy, room)
                names[target] = member.filename
    except ServiceError:
        raise
    except NotImplementedError:
        raise ServiceError("the zip is packed in a way that is not read; pack it again with deflate") from None
    except _NOT_ZIP as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # of an offset before the file
            raise
        raise ServiceError("the zip is damaged or encrypted; pack it again without a password") from None
    return names


def _checked(members: Sequence[zipfile.ZipInfo], settings: Settings) -> list[zipfile.ZipInfo]:
    """Return the files that are wanted, after a look at what all of them state."""
    for before, after in pairwise(sorted(members, key=lambda member: member.header_offset)):
        if before.header_offset + _HEAD_BYTES + before.compress_size > after.header_offset:
            raise ServiceError("the zip's files overlap, so that it unpacks to more than it holds; pack it again")
    wanted = [member for member in members if _is_wanted(member)]
    if len(wanted) > settings.files:
        raise _too_many(settings.files)
    if sum(member.file_size for member in wanted) > settings.unpacked_bytes:
        raise _too_much()
    return wanted


def _is_wanted(member: zipfile.ZipInfo) -> bool:
    name = member.filename
    is_file = name != "" and not name.endswith("/")  # `ZipInfo.is_dir` fails on a file without a name
    parts = PurePosixPath(name).parts
    return is_file and not any(part.startswith((".", "__MACOSX")) and part != ".." for part in parts)


def _copy(packed: IO[bytes], file: IO[bytes], room: int) -> int:
    written = 0
    while block := packed.read(_BLOCK):
        written += len(block)
        if written > room:
            raise _too_much()
        file.write(block)
    return written


def _too_many(files: int) -> TooLarge:
    return TooLarge(f"the zip lists more than {files:,} files; split it")


def _too_much() -> TooLarge:
    return TooLarge("the zip holds more than may be unpacked; split it")
