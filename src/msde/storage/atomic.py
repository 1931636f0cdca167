"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msde.errors import MSDEError, OutputError


@contextmanager
def writing(path: Path, error: type[MSDEError] = OutputError, *, keep: bool = False) -> Iterator[Path]:
    """Hand out a new file beside the path, which takes its name when all is written; an old file stays until then.

    With `keep`, what there is so far, ``PATH.*.part``, is left where the writing is interrupted, and the disk is not
    waited for. Raises the error given if the file cannot be written.
    """
    with explained(path, error):
        _check_kind(path)
        # A name of its own, because another run may write to the same path.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{'' if keep else '.'}{path.name}.", suffix=".part")
        os.close(handle)
        unfinished = Path(name)
        try:
            yield unfinished
            if not keep:
                _to_disk(unfinished)
            unfinished.chmod(0o666 & ~umask())
            unfinished.replace(os.path.realpath(path))
        except OSError as reason:
            if keep:
                said = reason.strerror or str(reason)
                raise error(f"{path}: cannot be written: {said}; what there is so far is in {unfinished}") from reason
            raise
        finally:
            if not keep:
                unfinished.unlink(missing_ok=True)


def check_writable(path: str | os.PathLike[str], error: type[MSDEError] = OutputError) -> None:
    """Check before long work that a file can be written at the path; raise the error given if it cannot."""
    path = Path(path)
    with explained(path, error):
        _check_kind(path)
        with tempfile.TemporaryFile(dir=path.parent):
            pass


def make_folder(folder: str | os.PathLike[str]) -> Path:
    """Make a folder if it is missing, and check before long work that files can be written to it.

    Raises OutputError if they cannot.
    """
    folder = Path(folder)
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    return folder


@contextmanager
def explained(path: Path, error: type[MSDEError] = OutputError) -> Iterator[None]:
    """Raise the system's errors in writing as one line that names the file and the remedy."""
    try:
        yield
    except OSError as reason:
        kept = " (the old file is unchanged)" if path.is_file() else ""
        said = reason.strerror or str(reason)
        raise error(f"{path}: cannot be written: {said}{kept}; make room or choose another place") from reason


def umask() -> int:
    """Return the process's file mode creation mask."""
    mask = os.umask(0o077)  # the only way to read it; what another thread makes meanwhile is rather too private
    os.umask(mask)
    return mask


def _check_kind(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "Not a regular file")


def _to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
