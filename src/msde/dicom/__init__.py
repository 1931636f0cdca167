"""Results as DICOM objects of the source image's study, marked as research use; needs the extra `dicom`."""

from msde.dicom.exporter import Exporter
from msde.dicom.folder import write_datasets
from msde.dicom.parametric_map import parametric_map
from msde.dicom.result import Result
from msde.dicom.result_objects import ResultObjects
from msde.dicom.secondary_capture import secondary_capture
from msde.dicom.structured_report import structured_report

__all__ = [
    "Exporter",
    "Result",
    "ResultObjects",
    "parametric_map",
    "secondary_capture",
    "structured_report",
    "write_datasets",
]
