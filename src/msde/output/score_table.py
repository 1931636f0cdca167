"""Scores as a table: CSV, JSON lines or Parquet, by the name of the file."""

from __future__ import annotations

import csv
import json
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TextIO, get_args, get_type_hints

from msde.errors import OutputError
from msde.model.score import ImageScore
from msde.storage.bundle import umask


def write_csv(scores: Iterable[ImageScore], file: TextIO, kind: type[ImageScore] = ImageScore) -> None:
    """Write scores as CSV with a header, a row as soon as it is there.

    Parameters
    ----------
    scores : iterable of ImageScore
    file : text file
        Opened with ``newline=""``. Missing values are left empty; flagged is true or false.
    kind : type
        Dataclass of the scores, whose fields are the columns.
    """
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([field.name for field in fields(kind)])
    for score in scores:
        writer.writerow(_plain(score, "").values())
        file.flush()


def write_jsonl(scores: Iterable[ImageScore], file: TextIO) -> None:
    """Write scores as JSON lines, one object an image; missing values are null."""
    for score in scores:
        file.write(json.dumps(_plain(score, None), ensure_ascii=False) + "\n")
        file.flush()


def write_table(
    scores: Iterable[ImageScore], path: str | os.PathLike[str], kind: type[ImageScore] = ImageScore
) -> None:
    """Write scores to a file, its format by its suffix: .csv, .jsonl or .parquet.

    Rows are written as they come to a file beside it, ``PATH.*.part``, which takes the name PATH when it is complete
    and stays where the work is interrupted.

    Parameters
    ----------
    scores : iterable of ImageScore
    path : path-like
    kind : type
        As in `write_csv`.

    Raises
    ------
    OutputError
        If the suffix is another one, the file cannot be written, or Parquet's library is missing.
    """
    path = Path(path)
    check_table(path)
    with replacing(path) as unfinished:
        if path.suffix.lower() == ".parquet":
            _write_parquet(scores, unfinished, kind)
            return
        with unfinished.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            if path.suffix.lower() == ".csv":
                write_csv(scores, file, kind)
            else:
                write_jsonl(scores, file)


def write_json(figures: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write figures to a JSON file.

    Parameters
    ----------
    figures : mapping
        Anything that JSON can hold.
    path : path-like

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    with replacing(Path(path)) as unfinished:
        unfinished.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def write_lines(lines: Iterable[str], path: str | os.PathLike[str]) -> None:
    """Write a text file, a line each.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    with replacing(Path(path)) as unfinished:
        unfinished.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def check_table(path: str | os.PathLike[str]) -> None:
    """Find out before long work whether a table could be written at the path.

    Raises
    ------
    OutputError
        If it could not.
    """
    path = Path(path)
    if path.suffix.lower() not in (".csv", ".jsonl", ".parquet"):
        raise OutputError(f"{path}: unknown table format {path.suffix!r}; name it .csv, .jsonl or .parquet")
    if path.suffix.lower() == ".parquet":
        _pyarrow(path)
    check_output(path)


def check_output(path: str | os.PathLike[str]) -> None:
    """Find out before long work whether a file could be written at the path.

    Raises
    ------
    OutputError
        If it could not.
    """
    path = Path(path)
    if not os.path.isdir(path.parent) or not os.access(path.parent, os.W_OK):
        raise OutputError(f"{path}: cannot be written; give a file in a folder that exists and may be written to")
    if os.path.exists(path) and not os.path.isfile(path):
        raise OutputError(f"{path}: is no regular file; give another name")


def _plain(score: ImageScore, missing: Any) -> dict[str, Any]:
    row = asdict(score)
    for name, value in row.items():
        if value is None or (isinstance(value, float) and math.isnan(value)):
            row[name] = missing
        elif missing == "" and isinstance(value, bool):
            row[name] = str(value).lower()
    return row


def _write_parquet(scores: Iterable[ImageScore], path: Path, kind: type[ImageScore]) -> None:
    pyarrow = _pyarrow(path)
    from pyarrow import parquet

    types = {str: pyarrow.string(), float: pyarrow.float64(), bool: pyarrow.bool_()}
    hints = get_type_hints(kind)
    columns = [(field.name, types[(get_args(hints[field.name]) or (hints[field.name],))[0]]) for field in fields(kind)]
    table = pyarrow.Table.from_pylist([_plain(score, None) for score in scores], schema=pyarrow.schema(columns))
    parquet.write_table(table, path)


def _pyarrow(path: Path) -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise OutputError(
            f"{path}: Parquet needs pyarrow; run `pip install 'msde[parquet]'` or name it .csv"
        ) from error
    return pyarrow


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Hand out a new file beside the path; put it in place when all is written, or remove it."""
    check_output(path)
    # A name of its own, for another run may write to the same path.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.", suffix=".part")
    os.close(handle)
    unfinished = Path(name)
    try:
        yield unfinished
        unfinished.chmod(0o666 & ~umask())
        unfinished.replace(os.path.realpath(path))
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"{path}: cannot be written: {reason}; what there is so far is in {unfinished}") from error
