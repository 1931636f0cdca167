"""Scores as a table: CSV, JSON lines or Parquet, by the name of the file."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from io import StringIO
from pathlib import Path
from typing import Any, TextIO, TypeVar

from msde.errors import OutputError
from msde.images.patient_identifiers import Identifiers
from msde.model.patient_score import PatientScore
from msde.model.score import COLUMNS, ImageScore
from msde.storage.atomic import check_writable, writing

Scored = TypeVar("Scored", ImageScore, PatientScore)

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_BREAKS = {ord(c): ascii(c)[1:-1] for c in "\n\r"}  # in a list with a name a line
_BREAKS_IN_JSON = {ord(c): f"\\u{ord(c):04x}" for c in "\x85\u2028\u2029"}  # which JSON allows, and some take for ends


def encodable(text: str) -> str:
    """Return text as UTF-8 can hold it: what it cannot, as in file names of old disks, is escaped as in Python."""
    return text.encode("utf-8", "backslashreplace").decode()


def csv_row(cells: Iterable[object]) -> str:
    """Return a line of CSV that every reader takes for one row, and no spreadsheet for a formula.

    Parameters
    ----------
    cells : iterable
        Text that begins with ``=``, ``+``, ``-``, ``@``, a tab or a line break gets an apostrophe before it.

    Returns
    -------
    str
        It ends with a line feed.
    """
    line = StringIO()
    csv.writer(line).writerow(map(_in_csv, cells))
    # The writer quotes only line breaks of the kind that it ends lines with, so it ends them with both.
    return line.getvalue().removesuffix("\r\n") + "\n"


def jsonl_row(row: Mapping[str, Any]) -> str:
    """Return a line of JSON lines that every reader takes for one row."""
    return json.dumps(row, ensure_ascii=False).translate(_BREAKS_IN_JSON) + "\n"


def write_csv(
    scores: Iterable[Scored], file: TextIO, *, identifiers: bool = False, columns: Sequence[str] = COLUMNS
) -> list[Scored]:
    """Write scores as CSV with a header, a row as soon as it is there.

    Parameters
    ----------
    scores : iterable of ImageScore or PatientScore
    file : text file
        Opened with ``newline=""``. Missing values are left empty; flagged is true or false; text is as in `csv_row`.
    identifiers : bool
        Whether to add columns with those of DICOM images, :class:`msde.images.patient_identifiers.Identifiers`.
    columns : sequence of str
        Attributes of the scores.

    Returns
    -------
    list
        Those written, without heat.
    """
    file.write(csv_row(_columns(columns, identifiers)))
    written = []
    for score in scores:
        file.write(csv_row(_row(score, columns, identifiers).values()))
        file.flush()
        written.append(score.without_heat())
    return written


def write_jsonl(
    scores: Iterable[Scored], file: TextIO, *, identifiers: bool = False, columns: Sequence[str] = COLUMNS
) -> list[Scored]:
    """Write scores as JSON lines, one object an image; missing values are null; see `write_csv`."""
    written = []
    for score in scores:
        file.write(jsonl_row(_row(score, columns, identifiers)))
        file.flush()
        written.append(score.without_heat())
    return written


def write_table(
    scores: Iterable[Scored],
    path: str | os.PathLike[str],
    *,
    identifiers: bool = False,
    columns: Sequence[str] = COLUMNS,
) -> list[Scored]:
    """Write scores to a file, its format by its suffix: .csv, .jsonl or .parquet.

    Rows are written as they come to a file beside it, ``PATH.*.part``, which takes the name PATH when it is complete
    and stays where the work is interrupted.

    Parameters
    ----------
    scores : iterable of ImageScore or PatientScore
    path : path-like
    identifiers, columns
        As in `write_csv`.

    Returns
    -------
    list
        Those written, without heat.

    Raises
    ------
    OutputError
        If the suffix is another one, the file cannot be written, or Parquet's library is missing.
    """
    path = Path(path)
    check_table(path)
    with writing(path, keep=True) as unfinished:
        if path.suffix.lower() == ".parquet":
            return _write_parquet(scores, unfinished, columns, identifiers)
        write = write_csv if path.suffix.lower() == ".csv" else write_jsonl
        with unfinished.open("w", newline="", encoding="utf-8") as file:
            return write(scores, file, identifiers=identifiers, columns=columns)


def write_json(figures: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write figures to a JSON file.

    Parameters
    ----------
    figures : mapping
        Anything that JSON can hold; numbers that are not finite become null, which JSON does not know.
    path : path-like

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    with writing(Path(path), keep=True) as unfinished:
        unfinished.write_text(as_json(figures), encoding="utf-8")


def as_json(figures: Mapping[str, Any]) -> str:
    """Return figures as a JSON document, as `write_json` writes them."""
    return json.dumps(_storable(figures), indent=2, ensure_ascii=False) + "\n"


def write_lines(lines: Iterable[str], path: str | os.PathLike[str], *, breaks: bool = False) -> None:
    """Write a text file, a line each; what is no UTF-8 is escaped, and unless `breaks` say so line breaks in a name.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    with writing(Path(path), keep=True) as unfinished:
        written = (encodable(line) if breaks else encodable(line).translate(_BREAKS) for line in lines)
        unfinished.write_text("".join(f"{line}\n" for line in written), encoding="utf-8")


def check_table(path: str | os.PathLike[str]) -> None:
    """Check before long work that a table can be written at the path.

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
    check_writable(path)


def _columns(columns: Sequence[str], identifiers: bool) -> list[str]:
    return [*columns, *(field.name for field in fields(Identifiers) if identifiers)]


def _storable(value: Any) -> Any:
    """Return what strict readers take: no numbers that are not finite, no text that UTF-8 cannot hold."""
    if isinstance(value, Mapping):
        return {encodable(key): _storable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(one) for one in value]
    if isinstance(value, str):
        return encodable(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _row(score: Scored, columns: Sequence[str], identifiers: bool) -> dict[str, Any]:
    row: dict[str, Any] = _storable(
        score.row(columns) | (asdict(Identifiers.of(*score.sources)) if identifiers else {})
    )
    return row


def _in_csv(value: object) -> object:
    """Return a cell: true and false as in JSON, and no text that a spreadsheet would take for a formula."""
    if isinstance(value, bool):
        return str(value).lower()
    return encodable(f"'{value}" if value.startswith(_FORMULA) else value) if isinstance(value, str) else value


def _write_parquet(scores: Iterable[Scored], path: Path, columns: Sequence[str], identifiers: bool) -> list[Scored]:
    pyarrow = _pyarrow(path)
    from pyarrow import parquet

    numbers = dict.fromkeys(("anomaly_score", "p_value"), pyarrow.float64())
    types = {**numbers, "flagged": pyarrow.bool_(), "discovery": pyarrow.bool_(), "images": pyarrow.int64()}
    schema = pyarrow.schema([(name, types.get(name, pyarrow.string())) for name in _columns(columns, identifiers)])
    written = [score.without_heat() for score in scores]
    parquet.write_table(
        pyarrow.Table.from_pylist([_row(score, columns, identifiers) for score in written], schema=schema), path
    )
    return written


def _pyarrow(path: Path) -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise OutputError(
            f"{path}: Parquet needs pyarrow; run `pip install 'msde[parquet]'` or name it .csv"
        ) from error
    return pyarrow
