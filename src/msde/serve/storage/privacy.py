"""Files for nobody but the service's own user, whatever it was started with."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from msde.serve.logs import log

_OTHERS = 0o077


def keep_private() -> None:
    """Have all files that this process and those it starts make from now on be for their owner alone."""
    os.umask(_OTHERS)


def make_private(folder: Path) -> None:
    """Take from others what rights they have at a folder and all below it; what cannot be is logged."""
    refused = 0
    for path, mode in _below(folder):
        if mode & _OTHERS:
            try:
                os.chmod(path, mode & ~_OTHERS)
            except OSError:
                refused += 1
    if refused:
        log("warning", "files of the data folder are another user's, who may read them", files=refused)


def _below(folder: Path | str) -> Iterator[tuple[Path | str, int]]:
    """List a folder and all in it with the modes; links are left alone, and what is gone meanwhile too."""
    yield folder, stat.S_IMODE(os.stat(folder).st_mode)
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    yield from _below(entry.path)
                elif not entry.is_symlink():
                    yield entry.path, stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode)
            except FileNotFoundError:
                continue
