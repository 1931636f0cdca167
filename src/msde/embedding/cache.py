"""Embeddings kept in a folder, so that the same pixels go through the same network once.

One small file an embedding, ``DIR/3f/3f…c2.embedding``, named by its key in hexadecimal: `MAGIC`, the SHA-256 of key
and values (32 bytes), the values as little-endian float32. Neither pixels nor names of images are kept. A file appears
under its name whole or not at all, so any number of processes may share a folder, and any of them may be killed.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

DEFAULT_LIMIT = 5_000_000_000
MAGIC = b"MSDEEMB1"

_HEAD = len(MAGIC) + hashlib.sha256().digest_size
_OURS = re.compile(r"[0-9a-f]{64}\.(embedding|[0-9a-f]{16}\.part)")
_SHARDS = 256  # one folder for each first byte of a key
_BLOCK = 4096  # file systems give space in blocks of this size
_DAY = 86_400.0
_HOUR = 3_600.0


class Embeddings(Protocol):
    """Where embeddings are looked up by key, and kept; see `EmbeddingCache`."""

    def get(self, key: bytes, dim: int) -> NDArray[np.float32] | None:
        """Return an embedding of this length, None where there is none."""
        ...

    def put(self, key: bytes, embedding: NDArray[np.float32]) -> None:
        """Keep an embedding."""
        ...

    def count(self, asked: int, found: int) -> None:
        """Note how many images were looked up and how many of them were there."""
        ...


class EmbeddingCache:
    """Embeddings by key in a folder of limited size; calls from several threads and processes at once are safe.

    A folder that cannot be read or written is no error: what is not found is computed, and one warning says so.

    Parameters
    ----------
    folder : path-like
        Made when the first embedding is kept. Only the cache's own files in it are ever removed.
    limit : int, default=5_000_000_000
        Bytes on disk, from some megabytes up; beyond them the least recently used embeddings go.
    warn : callable, default=warnings.warn
        Told in one line, once, why the folder cannot be read or written.

    Attributes
    ----------
    asked, found : int
        Images looked up, and those of them whose embedding was there.

    Notes
    -----
    The time of last use is a file's modification time, renewed once a day. Keys are evenly spread over the 256 folders,
    so each folder keeps to its share of the limit, and only one write in many lists only its own folder.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        limit: int = DEFAULT_LIMIT,
        warn: Callable[[str], object] = warnings.warn,
    ) -> None:
        self.folder = Path(folder)
        self.limit = limit
        self.asked = self.found = 0
        self._warn = warn
        self._writable = True
        self._lock = Lock()

    def get(self, key: bytes, dim: int) -> NDArray[np.float32] | None:
        """Read an embedding.

        Parameters
        ----------
        key : bytes
            32 bytes that stand for pixels and network.
        dim : int
            Length of the embedding.

        Returns
        -------
        ndarray of shape (dim,), float32, or None
            None where there is none, or none that is whole.
        """
        path, size = self._path(key), _HEAD + 4 * dim
        try:
            with path.open("rb") as file:
                content = file.read(size + 1)
                used = os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:
            return None
        except OSError as error:
            self._give_up("read", error)
            return None
        if len(content) != size or content[:_HEAD] != _head(key, content[_HEAD:]):
            return None
        if time.time() - used > _DAY:
            with suppress(OSError):
                os.utime(path)
        return np.frombuffer(content, dtype="<f4", offset=_HEAD).astype(np.float32)

    def put(self, key: bytes, embedding: NDArray[np.float32]) -> None:
        """Store an embedding, over a damaged one if need be.

        Parameters
        ----------
        key : bytes
            32 bytes that stand for pixels and network.
        embedding : ndarray of shape (dim,), float32
        """
        if not self._writable:
            return
        path = self._path(key)
        values = embedding.astype("<f4").tobytes()
        unfinished = path.with_name(f"{key.hex()}.{secrets.token_hex(8)}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with unfinished.open("xb") as file:
                file.write(_head(key, values) + values)
            unfinished.replace(path)
            kept = self.limit // _SHARDS // _on_disk(_HEAD + len(values))
            if int.from_bytes(key[-4:], "big") % max(1, kept // 16) == 0:
                self._make_room(path.parent)
        except OSError as error:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
            self._give_up("written", error)

    def count(self, asked: int, found: int) -> None:
        """Note how many images were looked up and how many of them were there."""
        with self._lock:
            self.asked += asked
            self.found += found

    def summary(self) -> str:
        """Return what the cache was good for, in words."""
        return f"{self.found} of {self.asked} embeddings came from the cache"

    def _path(self, key: bytes) -> Path:
        name = key.hex()
        return self.folder / name[:2] / f"{name}.embedding"

    def _make_room(self, shard: Path) -> None:
        """Remove a folder's least recently used files where they take more than its share of the limit."""
        held = []
        with os.scandir(shard) as entries:
            for entry in entries:
                if _OURS.fullmatch(entry.name):
                    with suppress(FileNotFoundError):  # another process makes room too
                        stat = entry.stat(follow_symlinks=False)
                        held.append((stat.st_mtime, _on_disk(stat.st_size), entry.name))
        taken, share = sum(size for _, size, _ in held), self.limit / _SHARDS
        if taken <= share:
            return
        for used, size, name in sorted(held):
            if taken <= share * 7 / 8:  # some room, because the folder grows until it is listed again
                return
            if name.endswith(".part") and time.time() - used < _HOUR:
                continue  # being written; an older one was left by a process that was killed
            (shard / name).unlink(missing_ok=True)
            taken -= size

    def _give_up(self, what: str, error: OSError) -> None:
        with self._lock:
            first, self._writable = self._writable, False
        if first:
            self._warn(
                f"{self.folder}: the cache cannot be {what} ({error.strerror or error}); going on without it;"
                " make room or give another folder"
            )


def _head(key: bytes, values: bytes) -> bytes:
    return MAGIC + hashlib.sha256(key + values).digest()


def _on_disk(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
