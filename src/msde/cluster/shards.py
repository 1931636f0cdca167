"""Nearest neighbours among more rows than one machine holds: a FAISS index a shard, answers merged."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msde.method.neighbors.index import FloatArray, IndexArray

ROWS_PER_SHARD = 1_000_000


class Shard:
    """Some of the reference rows, in one worker's memory.

    Parameters
    ----------
    path : path-like or None
        An .npy file of rows (n, d) that the worker can read; or None, and `rows` is given.
    start, stop : int
        Which rows of all are in this shard.
    rows : ndarray of shape (stop - start, d), optional
    """

    def __init__(
        self, path: str | os.PathLike[str] | None, start: int, stop: int, rows: FloatArray | None = None
    ) -> None:
        import faiss

        if path is not None:
            rows = np.load(path, mmap_mode="r", allow_pickle=False)[start:stop]
        assert rows is not None  # noqa: S101 - one of both is given
        self._start = start
        self._index = faiss.IndexFlatL2(rows.shape[1])
        self._index.add(np.ascontiguousarray(rows, dtype=np.float32))

    def query(self, queries: FloatArray, k: int) -> tuple[NDArray[np.float32], IndexArray]:
        """Find the nearest rows of this shard: squared distances and row numbers among all, (m, min(k, n))."""
        k = min(k, self._index.ntotal)
        squared, rows = self._index.search(np.ascontiguousarray(queries, dtype=np.float32), k)
        return squared, rows + self._start


class ShardedIndex:
    """Exact neighbours among rows that are dealt to Ray actors.

    Parameters
    ----------
    shards : sequence of actor handles
        Of `Shard`.
    n : int
        Reference rows in all.
    """

    def __init__(self, shards: Sequence[Any], n: int) -> None:
        self._shards, self._n = shards, n

    @classmethod
    def build(
        cls, rows: FloatArray | str | os.PathLike[str], rows_per_shard: int = ROWS_PER_SHARD, num_cpus: float = 1
    ) -> ShardedIndex:
        """Deal rows to actors of the cluster that this process has joined.

        Parameters
        ----------
        rows : ndarray of shape (n, d) or path
            Or an .npy file of them on a disk that all nodes share, which no process reads whole.
        rows_per_shard : int, default=1_000_000
        num_cpus : float, default=1
            Processors that a shard takes.

        Returns
        -------
        ShardedIndex
        """
        import ray

        path = None if isinstance(rows, np.ndarray) else os.fspath(rows)
        known = rows if isinstance(rows, np.ndarray) else np.load(rows, mmap_mode="r", allow_pickle=False)
        actor = ray.remote(num_cpus=num_cpus, max_restarts=-1, max_task_retries=-1)(Shard)
        shards = []
        for start in range(0, len(known), rows_per_shard):
            stop = min(start + rows_per_shard, len(known))
            shards.append(actor.remote(path, start, stop, known[start:stop] if path is None else None))
        return cls(shards, len(known))

    def query(self, queries: FloatArray, k: int) -> tuple[NDArray[np.float64], IndexArray]:
        """Find the k nearest reference rows of each query.

        Parameters
        ----------
        queries : ndarray of shape (m, d)
        k : int
            At least 1; capped at n.

        Returns
        -------
        distances : ndarray of shape (m, k), float64
            Euclidean, ascending.
        indices : ndarray of shape (m, k)
            Row numbers; equal distances in ascending row number.
        """
        import ray

        given = ray.put(queries)
        answers = ray.get([shard.query.remote(given, k) for shard in self._shards])
        squared, rows = (np.hstack(parts) for parts in zip(*answers, strict=True))
        order = np.lexsort((rows, squared), axis=1)[:, : min(k, self._n)]
        nearest = np.take_along_axis(squared, order, axis=1).astype(np.float64)
        return np.sqrt(np.maximum(nearest, 0)), np.take_along_axis(rows, order, axis=1)

    def close(self) -> None:
        """Give the actors' memory back."""
        import ray

        for shard in self._shards:
            ray.kill(shard)
