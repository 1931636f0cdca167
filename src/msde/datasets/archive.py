"""Unpack archives that are not trusted: regular files and folders below one folder, and no more than is bearable."""

from __future__ import annotations

import gzip
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import IO

from msde.errors import DataError

MAX_FILES = 200_000
MAX_BYTES = 100 * 2**30
"""Files in the archives of a set, and bytes in those files."""
_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    ValueError,
    RuntimeError,
)


def unpack(archives: Iterable[Path], folder: Path, into: str) -> None:
    """Unpack zip or tar archives into ``FOLDER/INTO``, which is there when all are unpacked and not before.

    `into` is the folder that they hold, or that takes what they hold. Raises DataError where a file is damaged, holds
    links, devices or paths that lead elsewhere, or too much; or nothing can be written.
    """
    staging = folder / f".{into}.unpacking"
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir()
        room = _Room()
        for archive in archives:
            _unpack(archive, staging, room)
        inner = staging / into
        os.replace(inner if inner.is_dir() else staging, folder / into)
    except OSError as error:
        raise DataError(f"{folder / into}: cannot be unpacked ({error.strerror or error}); free room there") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


class _Room:
    """Counts what was unpacked."""

    def __init__(self) -> None:
        self.files = self.bytes = 0

    def take(self, archive: Path, size: int) -> None:
        self.files += 1
        self.bytes += size
        if self.files > MAX_FILES or self.bytes > MAX_BYTES:
            raise DataError(f"{archive}: holds over {MAX_FILES:,} files or {MAX_BYTES:,} bytes; unpack it by hand")


def _unpack(archive: Path, staging: Path, room: _Room) -> None:
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                for info in packed.infolist():
                    if not info.filename.endswith("/"):  # `ZipInfo.is_dir` fails on a file without a name
                        is_plain = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG)
                        target = _target(info.filename, info.file_size, is_plain, archive, staging, room)
                        _write(packed.open(info), target)
        else:
            with tarfile.open(archive) as rolled:
                for entry in rolled:
                    if not entry.isdir():
                        target = _target(entry.name, entry.size, entry.isreg(), archive, staging, room)
                        _write(rolled.extractfile(entry), target)
    except _BROKEN as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{archive}: is a damaged archive ({reason}); remove it and fetch it again") from None


def _target(name: str, size: int, is_plain: bool, archive: Path, staging: Path, room: _Room) -> Path:
    """Return the path for a member, having made sure that it may be written there."""
    path = PurePosixPath(name)
    if not is_plain or not path.parts or path.is_absolute() or ".." in path.parts or "\\" in name:
        raise DataError(f"{archive}: holds {name!r}, a link or a path that leads elsewhere; do not unpack it")
    room.take(archive, size)
    target = staging / path
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _write(source: IO[bytes] | None, target: Path) -> None:
    if source is not None:  # it is, where the member is no regular file
        with source, target.open("xb") as file:
            shutil.copyfileobj(source, file, 2**20)
