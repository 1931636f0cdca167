"""Pillow's warnings, held back while a file is read: what is wrong with an image is said by an error or not at all."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_readers = 0
_filters = warnings.catch_warnings()


@contextmanager
def pillow_silenced() -> Iterator[None]:
    """Ignore warnings raised inside Pillow until the last of the concurrent readers has left.

    The filters of `warnings` belong to the whole process, so a plain ``catch_warnings`` in each of several reader
    threads may restore them in the wrong order. Warnings from other modules pass.
    """
    global _readers, _filters
    with _lock:
        if _readers == 0:
            _filters = warnings.catch_warnings()
            _filters.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
        _readers += 1
    try:
        yield
    finally:
        with _lock:
            _readers -= 1
            if _readers == 0:
                _filters.__exit__(None, None, None)
