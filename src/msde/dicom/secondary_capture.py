"""Secondary Capture: an overlay as a colour picture that every viewer shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from msde.dicom.equipment import bare, complete, highdicom, identity, reference
from msde.dicom.result import RESEARCH_USE, Result
from msde.dicom.source import check_grid, read_source
from msde.errors import DataError

if TYPE_CHECKING:
    from pydicom import Dataset


def secondary_capture(source: Dataset, result: Result, overlay: NDArray[np.uint8]) -> Dataset:
    """Make a Secondary Capture image of an overlay.

    Parameters
    ----------
    source : pydicom.Dataset
        The image that was scored, of one frame.
    result : Result
    overlay : ndarray of shape (rows, columns, 3), uint8
        The source with its heat map, RGB, on the source's pixel grid.

    Returns
    -------
    pydicom.Dataset
        Of the source's study, in a series of its own.

    Raises
    ------
    ImageError
        If the source has several frames, is no image, or lacks a UID.
    DataError
        If the overlay is no RGB picture on the source's grid.
    OutputError
        If highdicom is missing.
    """
    hd = highdicom()
    image = read_source(source)
    if overlay.ndim != 3 or overlay.shape[2] != 3 or overlay.dtype != np.uint8:
        raise DataError(f"an overlay must be uint8 of shape (rows, columns, 3); got {overlay.dtype} {overlay.shape}")
    check_grid(image, overlay.shape)
    capture: Dataset = hd.sc.SCImage.from_ref_dataset(
        bare(image),
        pixel_array=overlay,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "P"),  # highdicom wants one; it is replaced below
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        **identity([image], result, "secondary capture"),
    )
    capture.PatientOrientation = image.patient_orientation.split("\\") if image.patient_orientation else ""
    if image.plane is not None:
        capture.FrameOfReferenceUID, capture.PositionReferenceIndicator = image.plane.frame_of_reference, ""
        capture.ImageOrientationPatient = list(image.plane.orientation)
        capture.ImagePositionPatient = list(image.plane.position)
        capture.SliceThickness = image.thickness
    if image.spacing is not None:
        capture.PixelSpacing = list(image.spacing)
    elif image.aspect is not None:  # without it viewers take pixels for square
        capture.PixelAspectRatio = list(image.aspect)
    capture.SourceImageSequence = [reference(image)]
    capture.DerivationDescription = f"Overlay of an anomaly heat map. {RESEARCH_USE}"
    capture.ImageComments = RESEARCH_USE
    complete(capture, image, result, {**image.of_pixels, "Laterality": image.laterality})
    capture.DateOfSecondaryCapture, capture.TimeOfSecondaryCapture = capture.ContentDate, capture.ContentTime
    return capture
