"""Drawing for whoever waits: in threads of its own and in bounded memory, so that nothing else waits for pictures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from msde.images.room import PixelRoom
from msde.serve.errors import Busy

ROOM = 32_000_000
"""Pixels that are drawn at once; an image of more is drawn when no other is."""
PATIENCE = 10.0
"""Seconds after which a request that has not had its turn is sent away."""
_WAITING_PER_THREAD = 16
_RETRY = 2  # seconds
T = TypeVar("T")


class Drawing:
    """Threads that read and draw images.

    Parameters
    ----------
    threads : int
    """

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="msde-draw")
        self._most, self._waiting = threads * (1 + _WAITING_PER_THREAD), 0
        self._pixels = PixelRoom(ROOM)

    async def run(self, job: Callable[[], T]) -> T:
        """Run a job in one of the threads; it is counted by the pixels of the first image that it reads.

        Raises
        ------
        Busy
            Too many wait, or it did not have its turn in time.
        """
        if self._waiting >= self._most:
            raise _busy()
        self._waiting += 1
        try:
            asked = time.monotonic()
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, job, asked)
        finally:
            self._waiting -= 1

    def stop(self) -> None:
        """Give up what waits."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _run(self, job: Callable[[], T], asked: float) -> T:
        if time.monotonic() - asked > PATIENCE:
            raise _busy()
        with self._pixels.admitting():
            return job()


def _busy() -> Busy:
    return Busy("too many pictures are drawn; ask again after the seconds of Retry-After", _RETRY)
