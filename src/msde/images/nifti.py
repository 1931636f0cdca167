"""Read NIfTI: slices across the direction of acquisition, turned as a radiologist looks at them, in stored units."""

from __future__ import annotations

import gzip
import logging
import math
import os
import re
import tempfile
from dataclasses import dataclass
from functools import cached_property, partial
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msde.errors import ImageError
from msde.images.files import Contents, damaged, guarded, number_of, numbered, whole
from msde.images.formats import Format
from msde.images.intensity import percentiles, stated_range
from msde.images.measures import Measures
from msde.images.remembered import remembering, state_of
from msde.images.samples import Display, Ends, Samples, check_size
from msde.images.unpacked import Nameless, Unpacked

MAX_BYTES = 4_000_000_000
"""Bytes that a volume may hold when unpacked."""
COARSE = 1.2
"""How much coarser the distance of slices must be than the finer distances, for slices to be taken across it."""

_GZIP = b"\x1f\x8b"
_MOST_PACKED = 1032  # bytes that deflate makes of one at most
_HEADER_BYTES = 540
_NIFTI_1 = re.compile(rb".{344}n\+1\x00", re.DOTALL)
_NIFTI_2 = re.compile(rb".{4}n\+2\x00\r\n\x1a\n.{528}", re.DOTALL)
_PAIR = re.compile(rb".{344}ni1\x00|.{4}ni2\x00\r\n\x1a\n", re.DOTALL)
_LEAST_OFFSET = {348: 352, 540: 544}  # by the length of the header: it, and the mark of extensions
_SWEEPS = 64  # along rows and columns, after which what is still not reached is taken to lie within
_log = logging.getLogger(__name__)
_judging = Lock()
_UNPACKED = Unpacked()


@dataclass(frozen=True)
class _Volume:
    """A volume on disk by its header; its axes are turned to left, posterior and inferior, then time and the like."""

    path: str
    name: str
    packed: bool
    offset: int
    dtype: np.dtype[Any]
    stored_shape: tuple[int, ...]
    turns: NDArray[np.float64]
    shape: tuple[int, ...]
    steps: tuple[float, ...]
    axis: int
    slope: float
    intercept: float
    window: tuple[float, float] | None

    @property
    def n(self) -> int:
        return self.shape[self.axis] * math.prod(self.shape[3:])

    def check_slices(self) -> None:
        """Refuse slices of a size outside the limits, before any is read."""
        width, height = (side for axis, side in enumerate(self.shape[:3]) if axis != self.axis)
        check_size(width, height, self.name)

    def values(self) -> NDArray[Any]:
        """Map the samples, which are read as they are asked for; memory is let go of with the array."""
        import nibabel

        with guarded(self.name, "NIfTI"):
            key, offset = (self.path, *state_of(self.path)), 0 if self.packed else self.offset
            with _UNPACKED.file(key, self._unpack).open() if self.packed else open(self.path, "rb") as file:
                values: Any = np.memmap(file, self.dtype, "r", offset, self.stored_shape, "F")
            return np.asarray(nibabel.apply_orientation(values, self.turns))

    def _unpack(self) -> Nameless:
        with guarded(self.name, "NIfTI"):
            return _unpacked(self.path, self.offset, math.prod(self.stored_shape) * self.dtype.itemsize)

    @cached_property
    def is_cut_out(self) -> bool:
        """Whether all samples at the border of all slices are NaN, as outside of a brain that was cut out."""
        values = self.values()
        if values.dtype.kind != "f":
            return False
        edges = (values.take(edge, axis) for axis in range(3) if axis != self.axis for edge in (0, -1))
        found = all(np.isnan(edge).all() for edge in edges)
        if found:
            _log.warning("NaN outside of what is imaged count as background", extra={"image": self.name})
        return found

    def outside(self, plane: NDArray[Any]) -> NDArray[np.bool_] | None:
        """Find the background of a slice, if it has any."""
        if plane.dtype.kind != "f" or not (nan := np.isnan(plane)).any():
            return None
        with _judging:  # else several workers would say it
            is_cut_out = self.is_cut_out
        return _at_border(nan) if is_cut_out else None

    def slice(self, number: int) -> NDArray[Any]:
        """Take one slice as (rows, columns) or (rows, columns, 3)."""
        rest, place = divmod(number, self.shape[self.axis])
        further = np.unravel_index(rest, self.shape[3:]) if len(self.shape) > 3 else ()
        index: tuple[Any, ...] = (slice(None), slice(None), place, *further)
        plane = np.moveaxis(self.values(), self.axis, 2)[index].T
        if plane.dtype.names:
            return np.stack([plane[channel] for channel in plane.dtype.names], axis=-1)
        return np.array(plane, plane.dtype.newbyteorder("="))


def look_into(path: str, _: Format, name: str) -> Contents:
    """Count the slices of a volume."""
    volume = _volume(path, name)
    volume.check_slices()
    return Contents(numbered(volume.n))


def decode(path: str, _: Format, part: str | None, name: str) -> Samples:
    """Read one slice.

    Parameters
    ----------
    path : str
        The file.
    part : str or None
        Number of the slice, from the head, the patient's right or the front; those of later times follow.
    name : str
        What an error calls it.

    Returns
    -------
    Samples
        In the unit after ``scl_slope`` and ``scl_inter``.

    Raises
    ------
    ImageError
        No whole volume within the limits, or none whose axes can be told.
    """
    volume = _volume(path, whole(name, part))
    volume.check_slices()
    plane = volume.slice(number_of(part, volume.n, name, "slices"))
    black, white = stated_range(plane.dtype)
    if plane.ndim == 3:
        return Samples(plane, black, white)
    in_integers = plane.dtype.kind in "iu"
    if (volume.slope, volume.intercept) != (1, 0):
        with np.errstate(over="ignore"):
            plane = (plane * volume.slope + volume.intercept).astype(np.float32)
        black, white = sorted((black * volume.slope + volume.intercept, white * volume.slope + volume.intercept))
    display: Display | None = None if in_integers and math.isfinite(white - black) else percentiles
    if volume.window is not None:
        display = partial(_windowed, volume.window)
    return Samples(plane, black, white, display, volume.outside(plane))


def measures(path: str, part: str | None, name: str) -> Measures:
    """Read how large the pixels of a slice are; NIfTI names no unit of values."""
    volume = _volume(path, whole(name, part))
    columns, rows = (step for axis, step in enumerate(volume.steps) if axis != volume.axis)
    return Measures(spacing=(rows, columns))


def _millimetres(header: Any) -> float:
    """Return how many millimetres a unit of the affine is; one, as all programs take it, where that is not stated."""
    return {"meter": 1000.0, "micron": 0.001}.get(header.get_xyzt_units()[0], 1.0)


def _windowed(window: tuple[float, float], values: NDArray[Any]) -> Ends:
    return values, *window


def _volume(path: str, name: str) -> _Volume:
    return _opened(path, name, *state_of(path))


@remembering(64)  # slices come one after the other; of a volume only its header is kept
def _opened(path: str, name: str, *_: int) -> _Volume:
    with guarded(name, "NIfTI"):
        import nibabel

        with open(path, "rb") as file:
            packed = file.read(2) == _GZIP
        with gzip.open(path, "rb") if packed else open(path, "rb") as file:
            head = file.read(_HEADER_BYTES)
        if _NIFTI_1.match(head):
            return _laid_out(_mended(nibabel.Nifti1Header(head[:348], check=False), name), path, packed, name)
        if _NIFTI_2.match(head):
            return _laid_out(_mended(nibabel.Nifti2Header(head, check=False), name), path, packed, name)
    if _PAIR.match(head):
        raise ImageError(f"{name}: is the header of a NIfTI pair (.hdr, .img), which is not read; save one file, .nii")
    raise ImageError(f"{name}: is packed, but holds no NIfTI volume in one piece; give .nii or .nii.gz")


def _mended(header: Any, name: str) -> Any:
    """Mend a header as nibabel does when it loads a file, such as voxel sizes that are negative or 0."""
    if not 1 <= header["dim"][0] <= 7:
        raise ImageError(f"{name}: states no possible number of dimensions; save it again")
    least, offset = _LEAST_OFFSET[len(header.binaryblock)], float(header["vox_offset"])
    if offset < least:
        raise ImageError(
            f"{name}: states that its samples begin at byte {offset:.0f}, before its header ends; save it again"
        )
    header.check_fix()
    return header


def _laid_out(header: Any, path: str, packed: bool, name: str) -> _Volume:
    import nibabel

    shape = tuple(int(side) for side in header.get_data_shape())
    shape += (1,) * (3 - len(shape))
    dtype, offset = header.get_data_dtype(), int(header.get_data_offset())
    if dtype.kind not in "iufV" or (dtype.kind == "V" and not dtype.names) or min(shape, default=0) < 1:
        raise ImageError(f"{name}: holds samples of type {dtype} in a shape of {shape}; give real numbers or RGB")
    size = math.prod(shape) * dtype.itemsize
    if size > MAX_BYTES:
        raise ImageError(f"{name}: holds {size:,} bytes, over the limit of {MAX_BYTES:,}; cut the volume")
    if os.path.getsize(path) * (_MOST_PACKED if packed else 1) < offset + size:
        raise damaged(name, "NIfTI", "fewer samples than its header states")
    affine = header.get_best_affine()
    steps = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    if not np.isfinite(affine).all() or np.linalg.matrix_rank(affine[:3, :3]) < 3:
        raise ImageError(f"{name}: its affine is singular, so no axis can be told; mend the header's sform or qform")
    turns = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(affine), nibabel.orientations.axcodes2ornt("LPI")
    )
    order = np.argsort(turns[:, 0])
    slope, intercept = header.get_slope_inter()
    low, high = float(header["cal_min"]), float(header["cal_max"])
    turned = (*(shape[k] for k in order), *shape[3:])
    return _Volume(
        *(path, name, packed, offset, dtype, shape, turns, turned),
        tuple(float(step) for step in steps[order] * _millimetres(header)),
        _slice_axis(turned, steps[order]),
        1.0 if slope is None or not math.isfinite(slope) else float(slope),
        0.0 if intercept is None or not math.isfinite(intercept) else float(intercept),
        (low, high) if math.isfinite(high - low) and low < high else None,
    )


def _slice_axis(shape: tuple[int, ...], steps: NDArray[np.float64]) -> int:
    """Choose the axis to slice across: of length 1, else that of clearly the largest step, else from head to foot."""
    if shape[:3].count(1) == 1:
        return shape.index(1)
    middle, largest = np.sort(steps)[1:]
    return int(np.argmax(steps)) if largest >= COARSE * middle else 2


def _at_border(nan: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Find the NaN that hang together with the border: those within are missing, and the slice is refused."""
    across, down = nan.shape[1] + 1, nan.shape[0] + 1
    runs = (  # a number for each run of NaN along rows, and along columns
        np.cumsum(~nan, axis=1, dtype=np.int32) + np.arange(nan.shape[0], dtype=np.int32)[:, None] * across,
        np.cumsum(~nan, axis=0, dtype=np.int32) + np.arange(nan.shape[1], dtype=np.int32) * down,
    )
    outside = np.zeros_like(nan)
    outside[[0, -1]], outside[:, [0, -1]] = nan[[0, -1]], nan[:, [0, -1]]
    for _ in range(_SWEEPS):
        before = np.count_nonzero(outside)
        for numbers in runs:
            reached = np.zeros(int(numbers.max()) + 1, np.bool_)
            reached[numbers[outside]] = True
            outside = nan & reached[numbers]
        if np.count_nonzero(outside) == before:
            break
    return outside


def _unpacked(path: str, offset: int, size: int) -> Nameless:
    """Unpack the samples to disk, so that memory holds no more than the slices at work."""
    with gzip.open(path, "rb") as file, tempfile.TemporaryFile(prefix="msde-") as unpacked:
        file.seek(offset)
        left = size
        while left and (block := file.read(min(left, 2**20))):
            unpacked.write(block)
            left -= len(block)
        if left:
            raise EOFError("fewer samples than the header states")
        left = MAX_BYTES
        while left > 0 and (block := file.read(2**20)):  # to the end, where the checksum is
            left -= len(block)
        unpacked.flush()
        return Nameless(unpacked)
