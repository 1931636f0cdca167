"""What results take over from the source image: only what the standard allows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from msde.errors import DataError, ImageError
from msde.images.dicom_header import read_text
from msde.images.files import FaultError
from msde.images.header import integer

if TYPE_CHECKING:
    from pydicom import Dataset

# Patient and study attributes that every object must have, if empty.
BLANK = (
    "AccessionNumber",
    "PatientBirthDate",
    "PatientID",
    "PatientName",
    "PatientSex",
    "ReferringPhysicianName",
    "StudyDate",
    "StudyID",
    "StudyTime",
)
PATIENT_AND_STUDY = (*BLANK, "IssuerOfPatientID", "PatientAge", "PatientSize", "PatientWeight", "StudyDescription")
# What its pixels have gone through or show; an overlay has and shows the same.
PIXELS = (
    "BurnedInAnnotation",
    "LossyImageCompression",
    "LossyImageCompressionMethod",
    "LossyImageCompressionRatio",
    "RecognizableVisualFeatures",
)

_FINEST_RATIO = 1000
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_UID = re.compile(r"(?=.{3,64}\Z)(0|[1-9]\d*)(\.(0|[1-9]\d*))+")


@dataclass(frozen=True)
class Plane:
    """Where an image lies in the patient."""

    frame_of_reference: str  # UID of the coordinate system
    orientation: tuple[float, ...]  # direction cosines of rows and columns
    position: tuple[float, ...]  # centre of the first pixel in mm


@dataclass(frozen=True)
class Source:
    """The well-formed part of an image's header; study, series, instance and SOP class are UIDs."""

    study: str
    series: str
    instance: str
    sop_class: str
    number: int  # of the instance; 1 where there is none
    rows: int
    columns: int
    frames: int
    # values by keyword as they stand in a file: attributes in PATIENT_AND_STUDY; those in BLANK may be empty, others
    # that are empty are left out
    patient_and_study: Mapping[str, str]
    of_pixels: Mapping[str, str]  # likewise, those in PIXELS
    laterality: str  # R, L, or empty where it is not stated
    # directions of rows and columns in letters, parted by a backslash; empty where they are not stated
    patient_orientation: str
    spacing: tuple[float, ...] | None  # distance of rows and of columns in the patient, in mm
    aspect: tuple[int, int] | None  # height and width of a pixel, as a ratio; None where it is square, or not stated
    thickness: float | None  # of the slice, in mm
    plane: Plane | None  # None where the source is no slice, or one whose place is not stated in full


def read_source(dataset: Dataset) -> Source:
    """Read what results take over from an image, without its pixels.

    Raises ImageError if it is no image, lacks one of the UIDs that tie a result to it, or its patient ID is malformed.
    """
    uids = {keyword: read_text(dataset, keyword) for keyword in _UIDS}
    for keyword, uid in uids.items():
        if not _UID.fullmatch(uid or ""):
            state = "no" if uid == "" else "a malformed"
            raise ImageError(f"the source image has {state} {keyword}; results need it, so mend the source")
    if read_text(dataset, "PatientID") is None:  # without it the result would be filed under another patient
        raise ImageError("the source image has a malformed PatientID; results need it, so mend the source")
    try:
        rows, columns = integer(dataset, "Rows", 0), integer(dataset, "Columns", 0)
    except FaultError:
        rows = columns = 0
    if rows * columns == 0:
        raise ImageError("the source is no image: it has no rows and columns; give an image")
    spacing = _numbers(dataset, "PixelSpacing", 2)
    thickness = _numbers(dataset, "SliceThickness", 1)
    return Source(
        study=uids["StudyInstanceUID"] or "",
        series=uids["SeriesInstanceUID"] or "",
        instance=uids["SOPInstanceUID"] or "",
        sop_class=uids["SOPClassUID"] or "",
        number=max(_integer(dataset, "InstanceNumber"), 1),
        rows=rows,
        columns=columns,
        frames=max(_integer(dataset, "NumberOfFrames"), 1),
        patient_and_study={**dict.fromkeys(BLANK, ""), **_read_known(dataset, PATIENT_AND_STUDY)},
        of_pixels=_read_known(dataset, PIXELS),
        laterality=read_text(dataset, "Laterality") or read_text(dataset, "ImageLaterality") or "",
        patient_orientation=read_text(dataset, "PatientOrientation") or "",
        spacing=spacing if spacing and min(spacing) > 0 else None,
        aspect=_aspect(dataset),
        thickness=thickness[0] if thickness and thickness[0] > 0 else None,
        plane=_plane(dataset),
    )


def read_series(datasets: Sequence[Dataset]) -> list[Source]:
    """Read several images of one series.

    Raises DataError if there is none or they are of several series, and ImageError as `read_source`.
    """
    sources = [read_source(dataset) for dataset in datasets]
    if len({(source.study, source.series, source.patient_and_study["PatientID"]) for source in sources}) != 1:
        raise DataError("the source images are not of one series; give at least one image, and report series apart")
    return sources


def read_study(datasets: Sequence[Dataset]) -> list[Source]:
    """Read several images of one study, as `read_series` those of one series."""
    sources = [read_source(dataset) for dataset in datasets]
    if len({(source.study, source.patient_and_study["PatientID"]) for source in sources}) != 1:
        raise DataError("the source images are not of one study; give at least one image, and report studies apart")
    return sources


def check_grid(source: Source, shape: tuple[int, ...]) -> None:
    """Check that a picture lies on the source's pixel grid.

    Raises DataError if its rows and columns are not those of the source, ImageError if the source has several frames.
    """
    if source.frames > 1:
        raise ImageError(
            f"the source image has {source.frames} frames, and a picture belongs to one; give single-frame images, or"
            " only the structured report"
        )
    if shape[:2] != (source.rows, source.columns):
        raise DataError(
            f"a picture of {shape[0]} x {shape[1]} pixels is not on the source's grid of"
            f" {source.rows} x {source.columns}; resize it"
        )


def _read_known(dataset: Dataset, keywords: Sequence[str]) -> dict[str, str]:
    return {keyword: value for keyword in keywords if (value := read_text(dataset, keyword))}


def _plane(dataset: Dataset) -> Plane | None:
    frame = read_text(dataset, "FrameOfReferenceUID") or ""
    orientation = _numbers(dataset, "ImageOrientationPatient", 6)
    position = _numbers(dataset, "ImagePositionPatient", 3)
    if orientation is None or position is None or not _UID.fullmatch(frame):
        return None
    axes = np.reshape(orientation, (2, 3))
    return Plane(frame, orientation, position) if np.allclose(axes @ axes.T, np.eye(2), atol=1e-3) else None


def _aspect(dataset: Dataset) -> tuple[int, int] | None:
    for keyword in ("PixelAspectRatio", "PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        stated = _numbers(dataset, keyword, 2)
        if stated and min(stated) > 0:
            ratio = Fraction(stated[0] / stated[1]).limit_denominator(_FINEST_RATIO)
            return None if ratio == 1 or not ratio else (ratio.numerator, ratio.denominator)
    return None


def _numbers(dataset: Dataset, keyword: str, n: int) -> tuple[float, ...] | None:
    parts = (read_text(dataset, keyword) or "").split("\\")
    try:
        numbers = tuple(float(part) for part in parts)
    except ValueError:
        return None
    return numbers if len(numbers) == n and np.isfinite(numbers).all() else None


def read_number(dataset: Dataset) -> int:
    """Read an image's instance number, 0 where it has none that is one."""
    return _integer(dataset, "InstanceNumber")


def _integer(dataset: Dataset, keyword: str) -> int:
    """Return an attribute's number, 0 where it has none."""
    numbers = _numbers(dataset, keyword, 1)
    return int(numbers[0]) if numbers else 0
