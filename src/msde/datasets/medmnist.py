"""MedMNIST's files of any size: ``.npz`` with pictures and class labels of three splits in arrays."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from msde.datasets.catalog import normal_labels
from msde.datasets.dataset import Dataset
from msde.datasets.paths import names_in
from msde.datasets.picture import Picture
from msde.errors import DataError

MAX_ARRAY_BYTES = 2**35
"""Bytes that one array may have when unpacked."""
NONE = "none"
"""The label of a multi-label row without any finding."""
_SUFFIX = ".npz"
_MAX_CLASSES = 20


def file_in(path: Path) -> Path | None:
    """Find the file that a path names: itself, or the only one in a folder; None where there is none.

    Raises DataError where there are several.
    """
    if path.is_file():
        return path if path.suffix == _SUFFIX else None
    found = [name for name in names_in(path) if name.endswith(_SUFFIX)]
    if len(found) > 1:
        raise DataError(f"{path}: holds several .npz files ({', '.join(found[:8])}); give one of them")
    return path / found[0] if found else None


def read(file: Path, name: str, normal: Sequence[str] = ()) -> Dataset:
    """Read a file; its pictures stay on disk until they are used, unpacked into a temporary file where they are packed.

    It has arrays ``train_images`` (n, H, W) or (n, H, W, 3), ``train_labels`` (n,), (n, 1) or (n, classes), the same
    for ``test``. `normal` are the labels of the normal classes, by default those of the set's entry in ``sets.toml``.
    Raises DataError where the file is damaged, lacks an array, holds volumes, objects or too much, or does not say what
    is normal.
    """
    normal = tuple(normal) or normal_labels(file.stem)
    splits: dict[str, list[list[Picture]]] = {}
    try:
        with zipfile.ZipFile(file) as archive:
            for split in ("train", "test"):
                is_normal = _are_normal(_array(archive, file, f"{split}_labels"), normal, file)
                images = _images(archive, file, f"{split}_images", len(is_normal))
                splits[split] = [
                    [image for image, chosen in zip(images, is_normal, strict=True) if chosen == label]
                    for label in (True, False)
                ]
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError) as error:
        raise DataError(f"{file}: is a damaged .npz file ({error}); fetch it again") from None
    train, spare = splits["train"]
    notes = [f"normal are the labels {', '.join(normal)}"]
    if spare:
        notes.append(f"{len(spare)} abnormal images to train on are left out, as are the images of the split val")
    return Dataset(
        name, "MedMNIST", tuple(train), tuple(splits["test"][0]), tuple(splits["test"][1]), notes=tuple(notes)
    )


def _are_normal(labels: NDArray[Any], normal: Sequence[str], file: Path) -> list[bool]:
    """Return which rows of labels (n,), (n, 1) or (n, classes) are of a normal class."""
    rows = labels.reshape(len(labels), -1)
    if rows.shape[1] > 1:
        classes: list[tuple[str, ...]] = [
            tuple(str(number) for number in np.flatnonzero(row)) or (NONE,) for row in rows.astype(bool)
        ]
    else:
        classes = [(_word(label),) for label in rows[:, 0].tolist()]
    known = {label for row in classes for label in row}
    shown = ", ".join(sorted(known)[:_MAX_CLASSES])
    if not normal:
        raise DataError(f"{file}: does not say which of its labels ({shown}) are normal; name them by --normal LABELS")
    if not known & set(normal):
        raise DataError(f"{file}: has no image with a normal label ({', '.join(normal)}); its labels are {shown}")
    return [set(row) <= set(normal) for row in classes]


def _word(label: object) -> str:
    """Write a label as --normal names it, the same for 3 and 3.0."""
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)


def _images(archive: zipfile.ZipFile, file: Path, key: str, n: int) -> list[Picture]:
    pixels = _array(archive, file, key)
    if pixels.ndim not in (3, 4) or (pixels.ndim == 4 and pixels.shape[3] not in (1, 3)):
        raise DataError(
            f"{file}: {key} has shape {pixels.shape}, which is no row of pictures; a set of volumes has to be cut first"
        )
    if len(pixels) != n:
        raise DataError(f"{file}: has {len(pixels)} {key} but {n} labels; fetch it again")
    return [Picture.of(image, f"{file}#{key}/{number}") for number, image in enumerate(pixels)]


def _array(archive: zipfile.ZipFile, file: Path, key: str) -> NDArray[Any]:
    """Map one array of the archive into memory, from a temporary file that is gone when the array is."""
    try:
        info = archive.getinfo(f"{key}.npy")
    except KeyError:
        held = ", ".join(archive.namelist()[:8]) or "nothing"
        raise DataError(f"{file}: has no {key} but {held}; give a file of MedMNIST") from None
    if info.file_size > MAX_ARRAY_BYTES:
        raise DataError(f"{file}: {key} has {info.file_size:,} bytes, over the limit of {MAX_ARRAY_BYTES:,}")
    with archive.open(info) as packed, tempfile.TemporaryFile(prefix="msde-") as unpacked:
        try:
            shutil.copyfileobj(packed, unpacked, 2**20)
        except OSError as error:
            raise DataError(f"{file}: cannot be unpacked ({error.strerror}); free disk space or set TMPDIR") from None
        unpacked.seek(0)
        return _map_file(unpacked, file, key)


def _map_file(unpacked: IO[bytes], file: Path, key: str) -> NDArray[Any]:
    version = np.lib.format.read_magic(unpacked)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = header(unpacked)
    if dtype.hasobject or not shape or 0 in shape:
        raise DataError(f"{file}: {key} has shape {shape} of {dtype}, which is no array of images or labels")
    return np.memmap(unpacked, dtype, "r", unpacked.tell(), shape, "F" if fortran else "C")
