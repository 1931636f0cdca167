"""Images of object storage as files: fetched ahead of the reader, under their own names, gone when they are read."""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from msde.cluster.listing import Source
from msde.cluster.storage import fetch, is_remote, local_path, reason
from msde.embedding.embed import Embedded
from msde.images import Part

FETCHERS, AHEAD = 8, 32
NOT_FETCHED = "cannot be read from storage"


class Prefetch:
    """Hands out images as local files in an empty folder, and gives what becomes of them its name back.

    `bytes` is the size of the files handed out so far, each once.
    """

    def __init__(self, sources: Sequence[Source], folder: Path) -> None:
        self._sources, self._folder = sources, folder
        self._here: deque[tuple[str, str, str | None]] = deque()  # local path, address, why it did not arrive
        self._last = ""
        self.bytes = 0

    def __iter__(self) -> Iterator[Source]:
        """Yield local files in order; at most so many wait that a few batches are at hand."""
        pending: deque[tuple[Source, Path, Future[None] | None]] = deque()
        with ThreadPoolExecutor(FETCHERS, thread_name_prefix="msde-fetch") as pool:
            try:
                for number, source in enumerate(self._sources):
                    target = self._folder / str(number) / os.path.basename(os.fspath(source).rstrip("/"))[-200:]
                    remote = isinstance(source, str) and is_remote(source)
                    pending.append((source, target, pool.submit(fetch, str(source), target) if remote else None))
                    if len(pending) > AHEAD:
                        yield self._wait_for(*pending.popleft())
                while pending:
                    yield self._wait_for(*pending.popleft())
            finally:
                for _, _, future in pending:
                    if future is not None:
                        future.cancel()

    def named(self, embedded: Iterable[Embedded]) -> Iterator[Embedded]:
        """Give images that were fetched the names of their addresses, in their order."""
        for image in embedded:
            yield self._rename(image) if image.name.startswith(f"{self._folder}{os.sep}") else image

    def _wait_for(self, source: Source, target: Path, future: Future[None] | None) -> Source:
        if future is None:
            path = source.path if isinstance(source, Part) else local_path(source)
            if path != self._last:
                self.bytes += os.path.getsize(path) if os.path.isfile(path) else 0
                self._last = path
            return source if isinstance(source, Part) else path
        failure = future.exception()
        if failure is None:
            self.bytes += target.stat().st_size
        elif not isinstance(failure, Exception):
            raise failure
        why = None if failure is None else f"{source}: {NOT_FETCHED} ({reason(failure)}); check address and access"
        self._here.append((str(target), str(source), why))
        return str(target)

    def _rename(self, image: Embedded) -> Embedded:
        while not image.name.startswith(self._here[0][0]):
            shutil.rmtree(Path(self._here.popleft()[0]).parent, ignore_errors=True)
        local, address, why = self._here[0]
        return replace(
            image,
            name=image.name.replace(local, address),
            volume=image.volume and image.volume.replace(local, address),
            error=image.error and (why or image.error.replace(local, address)),
        )
