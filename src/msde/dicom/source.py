"""What results take over from the source image: only what the standard allows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from msde.errors import DataError, ImageError
from msde.images.dicom_header import read_text

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

_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_UID = re.compile(r"(?=.{3,64}\Z)(0|[1-9]\d*)(\.(0|[1-9]\d*))+")


@dataclass(frozen=True)
class Plane:
    """Where an image lies in the patient.

    Parameters
    ----------
    frame_of_reference : str
        UID of the coordinate system.
    orientation : tuple of six floats
        Direction cosines of rows and columns.
    position : tuple of three floats
        Centre of the first pixel in mm.
    """

    frame_of_reference: str
    orientation: tuple[float, ...]
    position: tuple[float, ...]


@dataclass(frozen=True)
class Source:
    """The well-formed part of an image's header.

    Parameters
    ----------
    study, series, instance, sop_class : str
        UIDs.
    number : int
        Instance number; 1 where there is none.
    rows, columns, frames : int
        Size of the pixel grid.
    patient_and_study, of_pixels : mapping of str to str
        Values by keyword as they stand in a file: attributes in `PATIENT_AND_STUDY` and `PIXELS`. Those in `BLANK` may
        be empty; others that are empty are left out.
    laterality : str
        R, L, or empty where it is not stated.
    patient_orientation : str
        Directions of rows and columns in letters, parted by a backslash; empty where they are not stated.
    spacing : tuple of two floats or None
        Distance of rows and of columns in the patient, in mm.
    thickness : float or None
        Of the slice, in mm.
    plane : Plane or None
        None where the source is no slice, or one whose place is not stated in full.
    """

    study: str
    series: str
    instance: str
    sop_class: str
    number: int
    rows: int
    columns: int
    frames: int
    patient_and_study: Mapping[str, str]
    of_pixels: Mapping[str, str]
    laterality: str
    patient_orientation: str
    spacing: tuple[float, ...] | None
    thickness: float | None
    plane: Plane | None


def read_source(dataset: Dataset) -> Source:
    """Read what results take over from an image.

    Parameters
    ----------
    dataset : pydicom.Dataset
        An image; pixels are not looked at.

    Raises
    ------
    ImageError
        If it is no image, lacks one of the UIDs that tie a result to it, or its patient ID is malformed.
    """
    uids = {keyword: read_text(dataset, keyword) for keyword in _UIDS}
    for keyword, uid in uids.items():
        if not _UID.fullmatch(uid or ""):
            state = "no" if uid == "" else "a malformed"
            raise ImageError(f"the source image has {state} {keyword}; results need it, so mend the source")
    if read_text(dataset, "PatientID") is None:  # without it the result would be filed under another patient
        raise ImageError("the source image has a malformed PatientID; results need it, so mend the source")
    rows, columns = dataset.get("Rows"), dataset.get("Columns")  # binary numbers
    if not isinstance(rows, int) or not isinstance(columns, int) or rows * columns == 0:
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
        thickness=thickness[0] if thickness and thickness[0] > 0 else None,
        plane=_plane(dataset),
    )


def read_series(datasets: Sequence[Dataset]) -> list[Source]:
    """Read several images of one series.

    Raises
    ------
    DataError
        If there is none, or they are of several series.
    ImageError
        As `read_source`.
    """
    sources = [read_source(dataset) for dataset in datasets]
    if len({(source.study, source.series, source.patient_and_study["PatientID"]) for source in sources}) != 1:
        raise DataError("the source images are not of one series; give at least one image, and report series apart")
    return sources


def check_grid(source: Source, shape: tuple[int, ...]) -> None:
    """Check that a picture lies on the source's pixel grid.

    Raises
    ------
    DataError
        If its rows and columns are not those of the source.
    ImageError
        If the source has several frames.
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


def _numbers(dataset: Dataset, keyword: str, n: int) -> tuple[float, ...] | None:
    parts = (read_text(dataset, keyword) or "").split("\\")
    try:
        numbers = tuple(float(part) for part in parts)
    except ValueError:
        return None
    return numbers if len(numbers) == n and np.isfinite(numbers).all() else None


def _integer(dataset: Dataset, keyword: str) -> int:
    """Return an attribute's number, 0 where it has none."""
    numbers = _numbers(dataset, keyword, 1)
    return int(numbers[0]) if numbers else 0
