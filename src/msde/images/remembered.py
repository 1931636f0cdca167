"""What is remembered of files that were read lately, so that their parts need not find it anew, until it is to go."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any, Generic, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Holder(Protocol):
    """Holds something of files."""

    def forget(self, beginning: str = "") -> None:
        """Let go of what is held of files whose path begins so."""
        ...


HOLDERS: list[Holder] = []
"""Those that `forget` asks."""


class Remembering(Generic[P, R]):
    """A function of a path, and of more, whose latest results are remembered.

    Parameters
    ----------
    function : callable
        Whose first argument is a path.
    most : int
        Results to remember.
    """

    def __init__(self, function: Callable[P, R], most: int) -> None:
        self._function, self._most = function, most
        self._results: OrderedDict[tuple[Any, ...], R] = OrderedDict()
        self._lock = Lock()
        HOLDERS.append(self)

    def __call__(self, *given: P.args, **none: P.kwargs) -> R:
        """Return the result for these arguments, all by position."""
        with self._lock:
            if given in self._results:
                self._results.move_to_end(given)
                return self._results[given]
        result = self._function(*given, **none)
        with self._lock:
            self._results[given] = result
            while len(self._results) > self._most:
                self._results.popitem(last=False)
        return result

    def forget(self, beginning: str = "") -> None:
        """Let go of what is remembered of files whose path begins so; by default of all."""
        with self._lock:
            for key in [key for key in self._results if str(key[0]).startswith(beginning)]:
                del self._results[key]


def state_of(path: str | os.PathLike[str]) -> tuple[int, int, int, int]:
    """Return what differs where a file is written to, or another takes its place: times, size and number.

    Raises OSError if there is none.
    """
    status = os.stat(path)
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


def remembering(most: int) -> Callable[[Callable[P, R]], Remembering[P, R]]:
    """Return a decorator that has a function of a path remember so many of its latest results."""
    return lambda function: Remembering(function, most)


def forget(beginning: str | os.PathLike[str]) -> None:
    """Let go of all that is remembered of files whose path begins so: headers, samples, open files."""
    for holder in HOLDERS:
        holder.forget(os.fspath(beginning))
