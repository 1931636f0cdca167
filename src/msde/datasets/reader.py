"""Recognise the layout of a folder and read the data set in it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from msde.datasets import folders, isic, json_lists
from msde.datasets.dataset import Dataset
from msde.datasets.medmnist import file_in
from msde.datasets.medmnist import read as read_arrays
from msde.errors import DataError

READERS = (json_lists.read, isic.read, folders.read)
"""Each takes a folder and a name and gives None where the layout is another."""
_SHOWN = 8


def read_dataset(folder: str | os.PathLike[str], name: str | None = None, normal: Iterable[str] = ()) -> Dataset:
    """Read a data set, recognising its layout from the folder alone.

    Parameters
    ----------
    folder : str or os.PathLike
        The set's folder as its archive unpacks, or a MedMNIST ``.npz`` file or a folder with one.
    name : str, optional
        What to call the set; by default the folder's or file's name.
    normal : iterable of str, optional
        Labels of the normal classes, for a MedMNIST file that says nothing of normality; ``none`` is the multi-label
        row without any finding.

    Returns
    -------
    Dataset
        Images are listed, not opened.

    Raises
    ------
    DataError
        The folder is missing, has none of the layouts in ``docs/datasets.md`` or lacks a part of one; a list names an
        image that is not there; there is no normal image to train on.
    """
    root = Path(folder)
    if not root.exists():
        raise DataError(f"{root}: no such file or folder; check the spelling and the current folder")
    called = name or root.resolve().name
    labels = tuple(normal)
    for read in READERS if root.is_dir() else ():
        dataset = read(root, called)
        if dataset is not None:
            if labels:
                raise DataError(f"{root}: its layout says what is normal; labels of normals are for .npz files only")
            return _with_normals(dataset, root)
    file = file_in(root)
    if file is None:
        raise DataError(f"{root}: {_why_not(root)}")
    return _with_normals(read_arrays(file, name or file.stem, labels), root)


def _with_normals(dataset: Dataset, root: Path) -> Dataset:
    if not dataset.train:
        raise DataError(f"{root}: holds no normal image to train on; unpack the archive again or add some")
    return dataset


def _why_not(root: Path) -> str:
    """Return what is wrong with a folder that has no known layout."""
    if not root.is_dir():
        return "is no folder and no .npz file; give the folder that the set's archive unpacks to"
    found = sorted(path.name for path in root.iterdir() if not path.name.startswith("."))
    sets = [name for name in found if (root / name).is_dir() and _has_layout(root / name)]
    if sets:
        return f"holds several data sets; give the folder of one, such as {root / sets[0]} (of {_some(sets)})"
    near = folders.nearest(root)
    if near:
        return near
    holds = f"it holds {_some(found)}" if found else "it is empty"
    return f"is in no layout that is known ({holds}); docs/datasets.md shows them"


def _has_layout(folder: Path) -> bool:
    return json_lists.matches(folder) or isic.matches(folder) or folders.matches(folder) is not None


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
