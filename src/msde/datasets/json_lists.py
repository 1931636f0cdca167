"""The layout of RSNA, VinCXR, BrainTumor and LAG: ``images/``, and ``data.json`` that lists them by split and label."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from msde.datasets.dataset import Dataset
from msde.datasets.folders import check_folder
from msde.datasets.paths import by_name, composed, read_text
from msde.errors import DataError

LIST = "data.json"
NORMAL, ABNORMAL = "0", "1"


def matches(root: Path) -> bool:
    """Return whether a folder has this layout."""
    return (root / LIST).is_file()


def read(root: Path, name: str) -> Dataset | None:
    """Read a set that is in this layout, or give None.

    Raises DataError where the list cannot be read, lacks a class or names an image that is not in ``images/``.
    """
    if not matches(root):
        return None
    path = root / LIST
    try:
        listed = json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{path}: is no JSON ({error}); unpack the archive again") from None
    train, test = (_part(listed, split, path) for split in ("train", "test"))
    folder = check_folder(root / "images")
    files = by_name(folder)

    def images(part: dict[str, Any], where: str, label: str, *, needed: bool = True) -> tuple[Path, ...]:
        names = part.get(label, None if needed else [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            keys = ", ".join(map(str, part)) or "nothing"
            raise DataError(
                f"{path}: {where!r} has no list of file names under {label!r} but {keys}; "
                f'normals are listed under "{NORMAL}", abnormal images under "{ABNORMAL}"'
            )
        return tuple(_found(names, folder, files, path))

    spare = train.get("unlabeled", {})
    unlabelled = spare if isinstance(spare, dict) else {NORMAL: spare}
    dataset = Dataset(
        name,
        LIST,
        images(train, "train", NORMAL),
        images(test, "test", NORMAL),
        images(test, "test", ABNORMAL),
        unlabelled_train=tuple(
            image for label in (NORMAL, ABNORMAL) for image in images(unlabelled, "unlabeled", label, needed=False)
        ),
    )
    abnormal = images(train, "train", ABNORMAL, needed=False)
    used = {*dataset.train, *dataset.normal, *dataset.abnormal, *dataset.unlabelled_train, *abnormal}
    notes = [f"{len(abnormal)} abnormal images to train on are left out"] if abnormal else []
    if len(used) < len(files):
        notes.append(f"{len(files) - len(used)} files in images/ are in no list of {LIST}")
    return Dataset(**{**vars(dataset), "notes": tuple(notes)})


def _part(listed: Any, split: str, path: Path) -> dict[str, Any]:
    part = listed.get(split) if isinstance(listed, dict) else None
    if not isinstance(part, dict):
        raise DataError(f'{path}: has no {split!r} with lists under "{NORMAL}" and "{ABNORMAL}"; unpack it again')
    return part


def _found(names: list[str], folder: Path, files: dict[str, Path], path: Path) -> list[Path]:
    missing = [name for name in names if composed(name) not in files]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DataError(f"{path}: {missing[0]!r}{more} is listed but not in {folder}; unpack the archive again")
    return [files[composed(name)] for name in names]
