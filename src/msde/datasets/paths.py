"""Files of one folder by their names, found whichever way the names' accents are written."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

from msde.errors import DataError
from msde.images import Part, find_images

MAX_LIST_BYTES = 64_000_000
"""Size that a list of images or labels may have."""


def images_in(folder: Path) -> tuple[Path | Part, ...]:
    """List the images below a folder in order of their names, as `msde.images.find_images` does; none if it is empty.

    Raises DataError where the folder cannot be listed, or holds files and none is an image.
    """
    return tuple(find_images([folder])) if names_in(folder) else ()


def names_in(folder: Path) -> list[str]:
    """List what is in a folder and not hidden, sorted; raise DataError if it cannot be listed."""
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror}); check its permissions") from None


def by_name(folder: Path) -> dict[str, Path]:
    """Map the names of the files right in a folder, in Unicode's composed form, to their paths."""
    return {composed(name): folder / name for name in names_in(folder) if (folder / name).is_file()}


def composed(name: str) -> str:
    """Write a name in Unicode's composed form: an archive made on another system may have taken the accents apart."""
    return unicodedata.normalize("NFC", name)


def read_text(path: Path) -> str:
    """Read a list, UTF-8 with or without a byte order mark.

    Raises DataError where it cannot be opened, is larger than `MAX_LIST_BYTES` or no UTF-8.
    """
    try:
        if path.stat().st_size > MAX_LIST_BYTES:
            raise DataError(f"{path}: is larger than {MAX_LIST_BYTES // 10**6} MB; give the list of the set's archive")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror}); check its permissions") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: is no UTF-8 text; unpack the archive again or save it as UTF-8") from None
