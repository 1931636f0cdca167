"""The layout of ISIC2018_Task3: folders ``*_Input`` of pictures, and ``*_GroundTruth/*.csv`` with a column a class."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from msde.datasets.dataset import Dataset
from msde.datasets.folders import check_folder
from msde.datasets.paths import by_name, composed, read_text
from msde.errors import DataError

PREFIX = "ISIC2018_Task3"
NAME, NORMAL = "image", "NV"
"""Columns: a picture's name without suffix; 1 where it is a nevus, the normal class of the benchmark."""
_KINDS = ("Input", "GroundTruth")


def matches(root: Path) -> bool:
    """Return whether a folder has this layout."""
    return any((root / f"{PREFIX}_{split}_{kind}").is_dir() for split in ("Training", "Test") for kind in _KINDS)


def read(root: Path, name: str) -> Dataset | None:
    """Read a set that is in this layout, or give None.

    Raises DataError where a folder or a picture is missing, or a table has no column NV or other values than 0 and 1.
    """
    if not matches(root):
        return None
    train, spare = _split(root, "Training")
    normal, abnormal = _split(root, "Test")
    notes = [f"{len(spare)} abnormal images to train on are left out"] if spare else []
    if (root / f"{PREFIX}_Validation_Input").is_dir():
        notes.append("the validation images are left out, as in the benchmark")
    return Dataset(name, PREFIX, train, normal, abnormal, notes=tuple(notes))


def _split(root: Path, split: str) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Return the normal and the abnormal pictures of a split, in the order of its table."""
    folder, tables = (check_folder(root / f"{PREFIX}_{split}_{kind}") for kind in _KINDS)
    table = tables / f"{tables.name}.csv"
    if not table.is_file():
        found = [path for name, path in by_name(tables).items() if name.lower().endswith(".csv")]
        if len(found) != 1:
            raise DataError(f"{table}: no such table; unpack {tables.name}.zip again")
        table = found[0]
    files = {Path(name).stem: path for name, path in by_name(folder).items() if name.lower().endswith(".jpg")}
    classes: dict[bool, list[Path]] = {True: [], False: []}
    for name, is_normal in _rows(table):
        if composed(name) not in files:
            raise DataError(f"{table}: {name!r} is listed but not in {folder}; unpack the archive again")
        classes[is_normal].append(files[composed(name)])
    return tuple(classes[True]), tuple(classes[False])


def _rows(table: Path) -> list[tuple[str, bool]]:
    reader = csv.DictReader(io.StringIO(read_text(table), newline=""))
    columns = [column.strip() for column in reader.fieldnames or []]
    if not {NAME, NORMAL} <= set(columns):
        raise DataError(
            f"{table}: has no column {NAME if NAME not in columns else NORMAL} but {', '.join(columns) or 'nothing'}; "
            f"give the table of the challenge, whose header is {NAME},MEL,{NORMAL},..."
        )
    reader.fieldnames = columns
    try:
        rows = [(row[NAME].strip(), _is_one(row[NORMAL])) for row in reader]
    except (csv.Error, ValueError, TypeError, AttributeError):
        raise DataError(
            f"{table}: line {reader.line_num} has no 0 or 1 under {NORMAL}; unpack the archive again"
        ) from None
    return rows


def _is_one(cell: str) -> bool:
    number = float(cell.strip())
    if number not in (0, 1):
        raise ValueError(cell)
    return bool(number)
