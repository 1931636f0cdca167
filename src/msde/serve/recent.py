"""Embeddings of the last minute, in memory, for models that share a network; nothing of them is kept on disk."""

from __future__ import annotations

import time
from collections import OrderedDict
from threading import Lock

import numpy as np
from numpy.typing import NDArray

SECONDS = 60.0
_BYTES = 64_000_000


class RecentEmbeddings:
    """Embeddings by key, as :class:`msde.embedding.cache.Embeddings` has it, which go soon.

    Parameters
    ----------
    seconds : float
        After which one goes.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._kept: OrderedDict[bytes, tuple[float, NDArray[np.float32]]] = OrderedDict()  # the oldest first
        self._bytes = 0
        self._lock = Lock()

    def get(self, key: bytes, dim: int) -> NDArray[np.float32] | None:
        """Return an embedding of this length, None where there is none."""
        with self._lock:
            _, found = self._kept.get(key, (0.0, None))
        return found if found is not None and len(found) == dim else None

    def put(self, key: bytes, embedding: NDArray[np.float32]) -> None:
        """Keep an embedding."""
        self.expire()
        with self._lock:
            if key not in self._kept:
                kept = embedding.copy()  # not the rows of the batch that it is one of
                self._kept[key] = time.monotonic(), kept
                self._bytes += kept.nbytes
            while self._bytes > _BYTES:
                self._drop()

    def count(self, asked: int, found: int) -> None:
        """Count nothing."""

    def expire(self) -> None:
        """Let go of what has been kept for long enough."""
        end = time.monotonic() - self._seconds
        with self._lock:
            while self._kept and next(iter(self._kept.values()))[0] <= end:
                self._drop()

    def clear(self) -> None:
        """Let go of all."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def _drop(self) -> None:
        _, (_, oldest) = self._kept.popitem(last=False)
        self._bytes -= oldest.nbytes
