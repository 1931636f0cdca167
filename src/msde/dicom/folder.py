"""Objects as files in a folder, each there whole or not at all."""

from __future__ import annotations

import errno
import io
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from msde.errors import OutputError

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


def make_folder(folder: str | os.PathLike[str]) -> Path:
    """Make a folder if it is missing, and check before long work that files can be written to it.

    Raises
    ------
    OutputError
        If they could not.
    """
    folder = Path(folder)
    with _said_plainly(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return folder


@contextmanager
def _said_plainly(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{folder}: DICOM results cannot be written: {error.strerror or error}; make room or give another folder"
        ) from error


def _write(dataset: Dataset, folder: Path) -> Path:
    from pydicom import dcmread

    path = folder / f"{dataset.SOPInstanceUID}.dcm"
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
    content = _encode(dataset)
    with _said_plainly(folder):
        try:
            with unfinished.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            written = unfinished.read_bytes()
            if written != content or _encode(dcmread(io.BytesIO(written))) != content:
                raise OutputError(f"{path}: reads back as something else than was written; check the disk")
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)
    return path


def _encode(dataset: Dataset) -> bytes:
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()
