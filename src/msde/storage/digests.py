"""Digests of files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Any


def digest_of(path: str | os.PathLike[str], kind: str | Callable[[], Any] = "sha256") -> str:
    """Return the digest of a file in hexadecimal; by default its SHA-256."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()
