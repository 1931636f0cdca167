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
    for path in (os.fspath(folder), *_below(folder)):
        try:
            mode = stat.S_IMODE(os.stat(path).st_mode)
            if mode & _OTHERS:
                os.chmod(path, mode & ~_OTHERS)
        except FileNotFoundError:  # gone meanwhile
            continue
        except OSError:
            refused += 1
    if refused:
        log("warning", "files of the data folder are another user's, who may read them", files=refused)


def keep_owner(path: Path, folder: Path) -> None:
    """Give a file to the owner of a folder: what root makes there, the service's own user could not read."""
    owner = folder.stat()
    if os.geteuid() == 0 and (owner.st_uid, owner.st_gid) != (0, 0):
        os.chown(path, owner.st_uid, owner.st_gid)


def _below(folder: str | os.PathLike[str]) -> Iterator[str]:
    """List what is in a folder, but for links, and for what is in a folder that cannot be read."""
    try:
        entries = list(os.scandir(folder))
    except OSError:  # such as lost+found, or gone meanwhile
        return
    for entry in entries:
        if not entry.is_symlink():
            yield entry.path
            if entry.is_dir(follow_symlinks=False):
                yield from _below(entry.path)
