"""Files that were unpacked to disk, kept while they are read: slices come one after the other, from several threads."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock, Timer
from typing import IO

from msde.errors import ImageError
from msde.images.passing import is_passing
from msde.images.remembered import HOLDERS

Key = tuple[str, *tuple[int, ...]]
IDLE = 10.0
"""Seconds without a reader after which a file is let go."""


class Nameless:
    """A file that is open, and with that in being, until nobody refers to this any more.

    Parameters
    ----------
    file : file
        Without a name; it may be closed then.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._number = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._number)

    def open(self) -> IO[bytes]:
        """Open it to be read."""
        return os.fdopen(os.dup(self._number), "rb")


@dataclass(eq=False)
class _Entry:
    """One file, or what is wrong with it: it is unpacked once, be it damaged."""

    turn: Lock = field(default_factory=Lock)
    content: Nameless | ImageError | None = None
    used: float = 0.0


class Unpacked:
    """Files by a key that begins with the path of what was unpacked; none has a name, so nothing is left of it."""

    def __init__(self) -> None:
        self._entries: dict[Key, _Entry] = {}
        self._lock = Lock()
        self._timer: Timer | None = None
        HOLDERS.append(self)

    def __len__(self) -> int:
        return len(self._entries)

    def file(self, key: Key, unpack: Callable[[], Nameless]) -> Nameless:
        """Return what `unpack` has made for a key, now or before.

        Raises
        ------
        ImageError
            As `unpack` raises it.
        """
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            entry.used = time.monotonic()
            if self._timer is None:
                self._wait()
        with entry.turn:
            if entry.content is None:
                try:
                    entry.content = unpack()
                except ImageError as error:
                    if is_passing(error):
                        raise
                    entry.content = error
            entry.used = time.monotonic()
        if isinstance(entry.content, ImageError):
            raise ImageError(str(entry.content))
        return entry.content

    def forget(self, beginning: str = "") -> None:
        """Let go of what was unpacked of files whose path begins so; by default of all."""
        with self._lock:
            for key in [key for key in self._entries if key[0].startswith(beginning)]:
                del self._entries[key]

    def _wait(self) -> None:
        self._timer = Timer(IDLE / 2, self._let_go)
        self._timer.daemon = True
        self._timer.start()

    def _let_go(self) -> None:
        with self._lock:
            ended = time.monotonic() - IDLE
            idle = [key for key, entry in self._entries.items() if entry.used < ended and not entry.turn.locked()]
            for key in idle:
                del self._entries[key]
            self._timer = None
            if self._entries:
                self._wait()
