"""Parametric Map: a heat map as numbers on the source's pixel grid.

The standard wants a place in the patient for every map. A slice lends its own. A projection image, such as a
radiograph, has none, so its map gets a frame of reference of its own, with the first pixel at the origin, rows along x
and columns along y. No other object shares that frame, so no viewer can relate the map to another image by it; the map
names its source image instead, whose grid is its grid. Distances are never invented: without a pixel spacing there is
none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from msde.dicom.equipment import bare, complete, derived_uid, highdicom, identity
from msde.dicom.result import RESEARCH_USE, Result
from msde.dicom.source import Plane, check_grid, read_source
from msde.errors import DataError

if TYPE_CHECKING:
    from pydicom import Dataset

    from msde.dicom.source import Source

_KIND = "parametric map"


def parametric_map(source: Dataset, result: Result, heat_map: NDArray[np.floating[Any]]) -> Dataset:
    """Make a Parametric Map of a heat map.

    Parameters
    ----------
    source : pydicom.Dataset
        The image that was scored, of one frame.
    result : Result
    heat_map : ndarray of shape (rows, columns)
        In [0, 1], the higher the more abnormal, on the source's pixel grid; stored as float32.

    Returns
    -------
    pydicom.Dataset
        Of the source's study, in a series of its own.

    Raises
    ------
    ImageError
        If the source has several frames, is no image, or lacks a UID.
    DataError
        If the heat map is not on the source's grid, or has values outside [0, 1].
    OutputError
        If highdicom is missing.
    """
    hd = highdicom()
    from pydicom.sr.codedict import codes

    image = read_source(source)
    if heat_map.ndim != 2 or not ((heat_map >= 0) & (heat_map <= 1)).all():
        raise DataError(f"a heat map must be of shape (rows, columns) with values in [0, 1]; got {heat_map.shape}")
    check_grid(image, heat_map.shape)
    mapping = hd.pm.RealWorldValueMapping(
        lut_label="ANOMALY",
        lut_explanation="Anomaly heat map",
        unit=codes.UCUM.NoUnits,
        value_range=(0.0, 1.0),
        slope=1.0,
        intercept=0.0,
        quantity_definition=codes.DCM.Saliency,
    )
    stored: Dataset = hd.pm.ParametricMap(
        [_with_place(image, result)],
        heat_map.astype(np.float32),
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[hd.VOILUTTransformation(window_center=0.5, window_width=1.0)],
        content_label="ANOMALY_HEAT_MAP",
        content_description=f"Anomaly heat map. {RESEARCH_USE}",
        **identity([image], result, _KIND),
    )
    organization = derived_uid(result, image.instance, _KIND, "dimension")
    for item in (*stored.DimensionOrganizationSequence, *stored.DimensionIndexSequence):
        item.DimensionOrganizationUID = organization
    measures = stored.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    known = {"PixelSpacing": image.spacing, "SliceThickness": image.thickness, "SpacingBetweenSlices": None}
    for keyword, value in known.items():
        if value is None and keyword in measures:  # highdicom cannot do without, or makes it up
            delattr(measures, keyword)
    drawn = {"Laterality": image.laterality, "BurnedInAnnotation": "NO", "RecognizableVisualFeatures": "NO"}
    complete(stored, image, result, {**image.of_pixels, **drawn})
    return stored


def _with_place(image: Source, result: Result) -> Dataset:
    """Return the source's header with a place in space, in the manner of images of one frame and of many."""
    from pydicom import Dataset

    plane = image.plane or Plane(
        derived_uid(result, image.instance, _KIND, "frame of reference"),
        (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        (0.0, 0.0, 0.0),
    )
    measures, orientation, position, groups = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = list(image.spacing or (1.0, 1.0)), image.thickness or 1.0
    orientation.ImageOrientationPatient = list(plane.orientation)
    position.ImagePositionPatient = list(plane.position)
    groups.PixelMeasuresSequence, groups.PlaneOrientationSequence = [measures], [orientation]
    groups.PlanePositionSequence = [position]
    header = bare(image)
    header.FrameOfReferenceUID = plane.frame_of_reference
    header.NumberOfFrames = 1
    header.SharedFunctionalGroupsSequence, header.PerFrameFunctionalGroupsSequence = [groups], [groups]
    for item in (measures, orientation, position):
        header.update(item)
    return header
