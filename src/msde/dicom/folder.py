"""Objects as files in a folder, each there whole or not at all."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from msde.errors import OutputError
from msde.storage.atomic import make_folder, writing

if TYPE_CHECKING:
    from pydicom import Dataset


def write_datasets(datasets: Iterable[Dataset], folder: str | os.PathLike[str]) -> list[Path]:
    """Write objects to a folder and read each back before it takes its name.

    Parameters
    ----------
    datasets : iterable of pydicom.Dataset
        What the functions of this package return.
    folder : path-like
        Made if it is missing. A file is named ``SOPInstanceUID.dcm``, so writing again replaces it.

    Returns
    -------
    list of Path
        One a dataset, in their order.

    Raises
    ------
    OutputError
        If a file cannot be written, or reads back as something else; what was written before it stays.
    """
    made = make_folder(folder)
    return [_write(dataset, made) for dataset in datasets]


def _write(dataset: Dataset, folder: Path) -> Path:
    from pydicom import dcmread

    path = folder / f"{dataset.SOPInstanceUID}.dcm"
    content = _encode(dataset)
    with writing(path) as unfinished:
        unfinished.write_bytes(content)
        written = unfinished.read_bytes()
        if written != content or _encode(dcmread(io.BytesIO(written))) != content:
            raise OutputError(f"{path}: reads back as something else than was written; check the disk")
    return path


def _encode(dataset: Dataset) -> bytes:
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()
