"""Files on disks and in object storage by the same calls, read again where the storage fails for a moment."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from msde.errors import OutputError
from msde.storage.atomic import writing

WAITS = (0.1, 0.3, 1.0, 3.0)
"""Seconds before each further try, give or take a half so that workers do not come back all at once."""

_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
T = TypeVar("T")


def is_remote(path: str) -> bool:
    """Return whether a path is an address such as ``s3://bucket/image.png``."""
    return "://" in path and not path.startswith("file://")


def local_path(path: str) -> str:
    """Return a path without ``file://``, if it is on this machine."""
    return path.removeprefix("file://")


def retry(call: Callable[[], T]) -> T:
    """Call until it works, five times at most; what is missing or forbidden is not asked for again."""
    for wait in WAITS:
        try:
            return call()
        except _FINAL:
            raise
        except Exception:
            time.sleep(wait * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
    return call()


def reason(error: Exception) -> str:
    """Return in a few words on one line why the storage failed."""
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(words).split())[:200]


def fetch(uri: str, target: Path) -> None:
    """Copy an object such as ``s3://bucket/image.png`` to a file in a new folder, which is made; raise as `retry`."""
    target.parent.mkdir()
    files, path = fsspec.core.url_to_fs(uri)
    retry(lambda: files.get_file(path, str(target)))


class PartsFolder:
    """A folder on a disk or in object storage, whose files appear whole or not at all."""

    def __init__(self, url: str) -> None:
        self.url = url if is_remote(url) else os.path.abspath(local_path(url))
        self._files, self._root = fsspec.core.url_to_fs(self.url)

    def read(self, name: str) -> bytes:
        """Read a file; raise FileNotFoundError if there is none."""
        content: bytes = retry(lambda: self._files.cat_file(f"{self._root}/{name}"))
        return content

    def open(self, name: str) -> Any:
        """Open a file to read parts of it; a context manager."""
        return retry(lambda: self._files.open(f"{self._root}/{name}", "rb"))

    def write(self, name: str, content: bytes) -> None:
        """Write a file, or put it in the place of an old one; raise OutputError if it cannot be written."""
        path = f"{self._root}/{name}"
        try:
            if isinstance(self._files, LocalFileSystem):
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                with writing(Path(path)) as unfinished:
                    unfinished.write_bytes(content)
            else:  # an object appears when all of it has arrived
                retry(lambda: self._files.pipe_file(path, content))
        except OutputError:
            raise
        except Exception as error:
            raise OutputError(
                f"{self.url}/{name}: cannot be written ({reason(error)}); make room or choose another place"
            ) from error

    def names(self, folder: str) -> list[str]:
        """List the files of a folder in order, without those that are being written."""
        self._files.invalidate_cache()
        try:
            found = retry(lambda: self._files.ls(f"{self._root}/{folder}", detail=False))
        except FileNotFoundError:
            return []
        return sorted(name for path in found if not (name := path.rpartition("/")[2]).startswith(".") and name)

    def exists(self, name: str) -> bool:
        """Return whether there is a file of this name."""
        self._files.invalidate_cache()
        return bool(retry(lambda: self._files.exists(f"{self._root}/{name}")))

    def remove(self, name: str) -> None:
        """Remove a file if it is there."""
        with suppress(FileNotFoundError):
            self._files.rm_file(f"{self._root}/{name}")
