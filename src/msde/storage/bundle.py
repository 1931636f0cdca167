"""The model file: named arrays and a JSON description in one safetensors file; specified in docs/model-file.md."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msde.errors import ModelFileError
from msde.storage.atomic import writing
from msde.storage.records import Arrays

FORMAT = "msde-model"
FORMAT_VERSION = 5
READABLE_VERSIONS = (3, 4, 5)

ArraysByPart = dict[str, Arrays]


def write_bundle(
    path: str | os.PathLike[str], parts: Mapping[str, Mapping[str, NDArray[Any]]], config: Mapping[str, Any]
) -> None:
    """Write a model file; an older file at the path stays whole until the new one is complete.

    Parameters
    ----------
    path : path-like
        Where to.
    parts : mapping of str to mapping of str to ndarray
        Arrays by name, by part; part names hold no slash.
    config : mapping
        Anything that JSON can hold.

    Raises
    ------
    ModelFileError
        If the file cannot be written; names it and the remedy.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    described = {**config, "parts": {part: digest_of_arrays(arrays) for part, arrays in parts.items()}}
    text = json.dumps(described, sort_keys=True, allow_nan=False)
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "config": text,
        "config_sha256": hashlib.sha256(text.encode()).hexdigest(),
    }
    tensors = {
        f"{part}/{name}": np.ascontiguousarray(a) for part, arrays in parts.items() for name, a in arrays.items()
    }
    with writing(Path(path), ModelFileError) as unfinished:
        try:
            save_file(tensors, unfinished, metadata)
        except SafetensorError as error:
            raise OSError(errno.ENOSPC if "No space" in str(error) else errno.EIO, str(error)) from error


def read_bundle(path: str | os.PathLike[str]) -> tuple[dict[str, Any], ArraysByPart]:
    """Read a model file and check every part of it.

    Parameters
    ----------
    path : path-like
        A file that :func:`write_bundle` wrote.

    Returns
    -------
    config : dict
        As given to :func:`write_bundle`, with the digests of the parts under "parts".
    parts : dict of str to dict of str to ndarray

    Raises
    ------
    ModelFileError
        If the file is missing, truncated, altered, no model file, or written by a newer version.
    """
    with _opened(path) as file:
        config = _checked_config(path, file.metadata() or {})
        parts: ArraysByPart = {part: {} for part in config["parts"]}
        for name in file.keys():  # noqa: SIM118 - the file is no mapping
            part, _, rest = name.partition("/")
            if part not in parts:
                raise ModelFileError(f"{path}: holds the unknown array {name!r}; restore the file from a copy")
            parts[part][rest] = file.get_tensor(name)
    for part, arrays in parts.items():
        if digest_of_arrays(arrays) != config["parts"][part]:
            raise ModelFileError(
                f"{path}: the part {part!r} was altered (sha256 differs); restore the file from a copy"
            )
    return config, parts


def format_version(path: str | os.PathLike[str]) -> int:
    """Return which format a model file is of, one that can be read; raise ModelFileError as `read_bundle` does."""
    with _opened(path) as file:
        return _checked_version(path, file.metadata() or {})


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Open a safetensors file, and raise what ails it as one line that names the file and the remedy."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except FileNotFoundError as error:
        raise ModelFileError(f"{path}: no such file; make a model with `msde fit NORMALS -o {path}`") from error
    except (OSError, RecursionError, SafetensorError, TypeError, ValueError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelFileError(f"{path}: no whole model file ({reason}); restore it from a copy or fit again") from error


def _checked_version(path: str | os.PathLike[str], metadata: Mapping[str, str]) -> int:
    if metadata.get("format") != FORMAT:
        raise ModelFileError(f"{path}: a safetensors file, but no msde model; give a file that `msde fit` wrote")
    version = metadata.get("format_version", "")
    if not version.isdecimal() or int(version) not in READABLE_VERSIONS:
        known = f"{', '.join(map(str, READABLE_VERSIONS[:-1]))} and {READABLE_VERSIONS[-1]}"
        raise ModelFileError(
            f"{path}: model format {version or 'unknown'}, this version of msde reads {known};"
            " upgrade msde, or fit an older model again"
        )
    return int(version)


def _checked_config(path: str | os.PathLike[str], metadata: Mapping[str, str]) -> dict[str, Any]:
    _checked_version(path, metadata)
    text = metadata.get("config", "")
    if hashlib.sha256(text.encode()).hexdigest() != metadata.get("config_sha256"):
        raise ModelFileError(f"{path}: the description was altered (sha256 differs); restore the file from a copy")
    config = json.loads(text)
    if not isinstance(config, dict) or not isinstance(config.get("parts"), dict):
        raise ModelFileError(f"{path}: the description is not one of a model; give a file that `msde fit` wrote")
    return config


def digest_of_arrays(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Return the SHA-256 of a part's arrays in hexadecimal, as docs/model-file.md defines it."""
    digest = hashlib.sha256()
    for name, values in sorted(arrays.items()):
        values = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
        digest.update(f"{name} {values.dtype.str} {','.join(map(str, values.shape))}\n".encode())
        digest.update(values.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
