"""Decoders' warnings, held back while a file is read: what is wrong with an image is said by an error or not at all.

Such a warning may quote what a medical file says of the patient.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# A decoder's warning is put down to its caller, too, where the decoder asks for that.
_MODULES = r"(PIL|pydicom|nibabel|tifffile|imagecodecs|openslide|msde\.images)\b"
_NAMES = ("pydicom", "nibabel", "nibabel.global", "tifffile", "imagecodecs", "PIL")
_LOGGERS = tuple(logging.getLogger(name) for name in _NAMES)
_lock = threading.Lock()
_readers = 0
_filters = warnings.catch_warnings()


@contextmanager
def decoders_silenced() -> Iterator[None]:
    """Ignore warnings and log records of the decoders until the last of the concurrent readers has left.

    The filters of `warnings` belong to the whole process, so a plain ``catch_warnings`` in each of several reader
    threads may restore them in the wrong order. Warnings from other modules pass.
    """
    global _readers, _filters
    with _lock:
        if _readers == 0:
            _filters = warnings.catch_warnings()
            _filters.__enter__()
            warnings.filterwarnings("ignore", module=_MODULES)
            for logger in _LOGGERS:
                logger.addFilter(_nothing)
        _readers += 1
    try:
        yield
    finally:
        with _lock:
            _readers -= 1
            if _readers == 0:
                _filters.__exit__(None, None, None)
                for logger in _LOGGERS:
                    logger.removeFilter(_nothing)


def _nothing(_: logging.LogRecord) -> bool:
    return False
