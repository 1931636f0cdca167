"""DICOM files as slices: which are one volume, in which order, and which cannot be placed in theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from msde.images.files import FaultError, Slice
from msde.images.header import integer, numbers

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SAME_PLANE = 0.01
"""How much direction cosines of parallel slices may differ: scanners round and compute them differently."""
SAME_PLACE = 1e-3
"""Distance in mm up to which slices are at one place, taken at different times, echoes or the like."""
UNPLACED = "states no place in its series, so its volume has no score; mend ImagePositionPatient and -Orientation"

_ONWARDS = (1, 1, -1)  # to the left, to the back and to the feet, in the patient's coordinates
_MIN_NORMAL = 0.5  # length of the cross product of the cosines, 1 where they are of unit length and perpendicular


class Member(NamedTuple):
    """A file of a volume, and what keeps it from being placed there; None where nothing does."""

    path: Path
    fault: str | None


def slice_of(header: Dataset, position: Dataset, orientation: Dataset) -> Slice | None:
    """Read a file of one frame as a slice; None where it states no series.

    Parameters
    ----------
    header, position, orientation : pydicom.Dataset
        Where rows and columns, the position and the orientation stand.
    """
    series = header.get("SeriesInstanceUID")
    if not series:
        return None
    axes = _numbers(orientation, "ImageOrientationPatient", 6)
    number = _numbers(header, "InstanceNumber", 1)
    return Slice(
        str(series),
        str(header.get("SOPInstanceUID") or ""),
        (integer(header, "Rows", 0), integer(header, "Columns", 0)),
        axes if axes and np.linalg.norm(np.cross(axes[:3], axes[3:])) > _MIN_NORMAL else None,
        _numbers(position, "ImagePositionPatient", 3),
        number[0] if number else 0.0,
    )


class Gathered(NamedTuple):
    """Volumes, and files that are copies of their slices."""

    volumes: list[list[Member]]
    copies: set[Path]


def gathered(files: Mapping[Path, Slice | None]) -> Gathered:
    """Gather files to volumes.

    Parallel slices of one folder, series and size are a volume, if they are at least two. One that states no place is
    part of its series' volume, if there is one of its size. A file that cannot be read is part of the folder's volume,
    if there is but one. Of copies of an instance in one folder that with the shortest name is in. A volume, or a single
    file, that holds nothing but slices of a larger volume is a copy too.

    Parameters
    ----------
    files : mapping of Path to Slice or None
        None for a DICOM file that cannot be read.

    Returns
    -------
    Gathered
        Slices are in order from the head, the patient's right or the front, as the slices of NIfTI are numbered; of
        several at one place those with the lowest instance number, then the second of each place, and so on. Those
        without a place are last. Volumes are in the order of their first files.
    """
    order = {path: number for number, path in enumerate(files)}
    by_folder: dict[Path, list[Path]] = {}
    for path in files:
        by_folder.setdefault(path.parent, []).append(path)
    volumes = [volume for paths in by_folder.values() for volume in _in_folder(paths, files)]
    volumes.sort(key=lambda volume: min(order[member.path] for member in volume))
    identities = {path: _identity(path, slice_) for path, slice_ in files.items()}
    held = [{identities[member.path] for member in volume} for volume in volumes]
    holders: dict[Slice | Path, list[set[Slice | Path]]] = {}
    for slices in held:
        for one in slices:
            holders.setdefault(one, []).append(slices)
    kept = [
        volume
        for volume, slices in zip(volumes, held, strict=True)
        if not any(slices < others for others in holders[next(iter(slices))])
    ]
    members = {member.path for volume in kept for member in volume}
    of_members = {identities[path] for path in members}
    return Gathered(kept, {path for path in files if path not in members and identities[path] in of_members})


def _in_folder(paths: Sequence[Path], files: Mapping[Path, Slice | None]) -> list[list[Member]]:
    """Gather the files of one folder."""
    series: dict[str, dict[Path, Slice]] = {}
    for path in paths:
        slice_ = files[path]
        if slice_ is not None:
            series.setdefault(slice_.series, {})[path] = slice_
    volumes = [volume for slices in series.values() for volume in _volumes(_without_copies(slices)) if len(volume) > 1]
    if len(volumes) == 1:
        volumes[0].extend(Member(path, None) for path in paths if files[path] is None)
    return volumes


def _without_copies(slices: Mapping[Path, Slice]) -> dict[Path, Slice]:
    """Keep of an instance's copies the one with the shortest name, such as IM1 beside IM1 (1)."""
    kept: dict[Slice | Path, Path] = {}
    for path in sorted(slices, key=lambda path: (len(path.name), path)):
        kept.setdefault(_identity(path, slices[path]), path)
    chosen = set(kept.values())
    return {path: slice_ for path, slice_ in slices.items() if path in chosen}


def _identity(path: Path, slice_: Slice | None) -> Slice | Path:
    """Return what is equal for copies: all that a slice states, for there are series with one UID for all slices."""
    return slice_ if slice_ is not None and slice_.instance else path


def _volumes(slices: Mapping[Path, Slice]) -> list[list[Member]]:
    """Tell the planes of a series apart: a localiser is parallel to no other slice, or of another size."""
    groups: list[list[Path]] = []
    unplaced = []
    for path, slice_ in slices.items():
        if slice_.axes is None or slice_.position is None:
            unplaced.append(path)
            continue
        for group in groups:
            if _fits(slice_, slices[group[0]]):
                group.append(path)
                break
        else:
            groups.append([path])
    volumes = [[Member(path, None) for path in _in_order(group, slices)] for group in groups]
    for path in unplaced:
        possible = [volume for volume in volumes if _fits(slices[path], slices[volume[0].path])]
        if possible:
            max(possible, key=len).append(Member(path, UNPLACED))
    return volumes


def _fits(one: Slice, other: Slice) -> bool:
    """Whether two slices are of one size and parallel, as far as they say."""
    if one.shape != other.shape:
        return False
    return one.axes is None or other.axes is None or bool(np.allclose(one.axes, other.axes, rtol=0, atol=SAME_PLANE))


def _in_order(group: Sequence[Path], slices: Mapping[Path, Slice]) -> list[Path]:
    axes = np.array(slices[group[0]].axes)
    across = np.cross(axes[:3], axes[3:])
    main = int(np.abs(across).argmax())
    across = across * np.sign(across[main]) * _ONWARDS[main]
    depths = {path: float(across @ np.array(slices[path].position)) for path in group}
    places: list[list[Path]] = []
    for path in sorted(group, key=lambda path: depths[path]):
        if places and depths[path] - depths[places[-1][0]] <= SAME_PLACE:
            places[-1].append(path)
        else:
            places.append([path])
    for place in places:
        place.sort(key=lambda path: (slices[path].number, path))
    return [place[time] for time in range(max(map(len, places))) for place in places if time < len(place)]


def _numbers(header: Dataset, keyword: str, n: int) -> tuple[float, ...] | None:
    """Read n numbers, or None where the file does not state them so."""
    try:
        found = numbers(header, keyword)
    except FaultError:
        return None
    given = tuple(value for value in found if value is not None)
    return given if len(given) == len(found) == n else None
