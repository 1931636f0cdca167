"""Which images a job is about: folders, manifests and object storage, listed one after the other and cut into parts."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple
from itertools import groupby
from typing import Any

import fsspec

from msde.cluster.storage import is_remote, local_path, reason, retry
from msde.errors import DataError
from msde.images import Part, find_images
from msde.images.formats import by_suffix

Source = str | Part

COLUMNS = ("path", "uri")
MANIFESTS = (".csv", ".parquet")
_BLOCK = 1 << 20


def sources(inputs: Sequence[str]) -> Iterator[Source]:
    """List images in a fixed order without holding the rows of a manifest in memory.

    An input is a manifest (.csv or .parquet with a column ``path`` or ``uri``; local paths in it are relative to its
    folder), an object or folder of object storage such as ``s3://bucket/folder/``, or what
    :func:`msde.images.find_images` takes. Manifests may lie in object storage too. Raises DataError if an input cannot
    be read or lists nothing.
    """
    for entries in _listed_together(inputs):
        empty = True
        for source in _sources_of(entries):
            empty = False
            yield source
        if empty:
            raise DataError(f"{entries[0]}: lists no image; give a folder, a manifest or an address that does")


def cut(listed: Iterable[Source], rows: int) -> Iterator[list[Source]]:
    """Cut a list into parts of at least so many images, only the last may be smaller; no volume is cut in two."""
    part: list[Source] = []
    for source in listed:
        if len(part) >= rows and not _same_volume(part[-1], source):
            yield part
            part = []
        part.append(source)
    if part:
        yield part


def to_json(listed: Iterable[Source]) -> str:
    """Write sources as JSON."""
    return json.dumps([astuple(source) if isinstance(source, Part) else source for source in listed])


def from_json(text: str | bytes) -> list[Source]:
    """Read what `to_json` wrote."""
    return [one if isinstance(one, str) else Part(*one) for one in json.loads(text)]


def identity(entry: str) -> str:
    """Return the name of an input, of a manifest with the SHA-256 of its content."""
    if not _is_manifest(entry):
        return entry
    digest = hashlib.sha256()
    with _open(entry) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return f"{entry} {digest.hexdigest()}"


def _same_volume(one: Source, other: Source) -> bool:
    return isinstance(one, Part) and isinstance(other, Part) and one.volume == other.volume


def _is_manifest(entry: str) -> bool:
    return entry.lower().endswith(MANIFESTS)


def _listed_together(inputs: Sequence[str]) -> Iterator[list[str]]:
    """Put neighbouring local files and folders together: files of one series are a volume, and none counts twice."""
    for is_single, group in groupby(inputs, lambda entry: _is_manifest(entry) or is_remote(entry)):
        entries = list(group)
        yield from ([entry] for entry in entries) if is_single else [entries]


def _sources_of(entries: list[str]) -> Iterator[Source]:
    entry = entries[0]
    if _is_manifest(entry):
        folder = os.path.dirname(local_path(entry))
        rows = _parquet_rows(entry) if entry.lower().endswith(".parquet") else _csv_rows(entry)
        for row in rows:
            yield row if "://" in row or is_remote(entry) else os.path.join(folder, row)
    elif is_remote(entry):
        yield from _objects(entry)
    else:
        for image in find_images([local_path(one) for one in entries]):
            yield image if isinstance(image, Part) else str(image)


def _objects(entry: str) -> Iterator[str]:
    files, path = fsspec.core.url_to_fs(entry)
    try:
        found = retry(lambda: files.glob(path) if "*" in path else files.find(path))
    except Exception as error:
        raise _unreadable(entry, error) from error
    for name in sorted(found):
        if by_suffix(name) is not None or name == path:
            yield files.unstrip_protocol(name)


def _open(entry: str) -> Any:
    try:
        return retry(lambda: fsspec.open(entry, "rb").open())
    except Exception as error:
        raise _unreadable(entry, error) from error


def _csv_rows(entry: str) -> Iterator[str]:
    with _open(entry) as file:
        try:
            reader = csv.DictReader(io.TextIOWrapper(file, encoding="utf-8-sig", newline=""))
            column = _column(entry, reader.fieldnames or ())
            for row in reader:
                if row[column]:
                    yield row[column]
        except (csv.Error, UnicodeDecodeError) as error:
            raise _unreadable(entry, error) from error


def _parquet_rows(entry: str) -> Iterator[str]:
    import pyarrow
    from pyarrow import parquet

    with _open(entry) as file:
        try:
            table = parquet.ParquetFile(file)
            column = _column(entry, table.schema_arrow.names)
            for batch in table.iter_batches(10_000, columns=[column]):
                for value in batch.column(0).to_pylist():
                    if value:
                        yield str(value)
        except pyarrow.ArrowException as error:
            raise _unreadable(entry, error) from error


def _column(entry: str, names: Sequence[str]) -> str:
    for column in COLUMNS:
        if column in names:
            return column
    raise DataError(f"{entry}: has no column {' or '.join(COLUMNS)} but {', '.join(names) or 'nothing'}; name one so")


def _unreadable(entry: str, error: Exception) -> DataError:
    return DataError(f"{entry}: cannot be read ({reason(error)}); check the address and the access to it")
