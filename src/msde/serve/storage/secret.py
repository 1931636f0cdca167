"""Secrets in files of their own, for the service's user alone."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from msde.errors import DataError

_SECRET_BYTES = 32


def read_secret(file: Path) -> bytes:
    """Read a secret, which is made where it is missing.

    Raises
    ------
    DataError
        If the file holds none.
    """
    if not file.exists():
        write_privately(file, secrets.token_hex(_SECRET_BYTES))
    try:
        secret = bytes.fromhex(file.read_text("ascii"))
    except ValueError:
        secret = b""
    if len(secret) < _SECRET_BYTES:
        raise DataError(f"{file}: is no secret of {_SECRET_BYTES} bytes; remove the file, and a new one is made")
    return secret


def write_privately(file: Path, text: str) -> None:
    """Write a file for the owner alone, whole or not at all; where another process was first, its file stays."""
    part = file.with_name(f"{file.name}.{secrets.token_hex(4)}.part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(handle, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        os.link(part, file)
    except FileExistsError:
        pass
    finally:
        part.unlink()
