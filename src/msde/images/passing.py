"""States of the machine in which a sound file cannot be read, and which pass: no memory, no room, no files left."""

from __future__ import annotations

import errno
import os

ERRNOS = frozenset(
    (errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOMEM, errno.EAGAIN, errno.ESTALE)
)
"""Of such states."""
_WORDS = tuple(os.strerror(number) for number in ERRNOS)
_met = 0


def is_passing(error: BaseException | None) -> bool:
    """Whether an error is, or was raised because of, a state of the machine that passes."""
    while error is not None:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in ERRNOS):
            return True
        if isinstance(error, ImportError) and any(words in str(error) for words in _WORDS):  # of the system's loader
            return True
        error = error.__cause__ or error.__context__
    return False


def note(error: BaseException) -> None:
    """Count an error if it is such; readers call it where they say of an image what is wrong with it."""
    global _met
    if is_passing(error):
        _met += 1


def times_met() -> int:
    """Count how often reading has met such a state, in whichever thread: before and after, to tell whether it did."""
    return _met
