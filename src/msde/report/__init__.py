"""A worklist of scored images as one HTML file, which any browser opens without a network."""

from msde.model.nearest_labelled import NearestLabelled
from msde.model.nearest_normals import NearestNormals
from msde.report.page import write_report
from msde.report.worklist import Case, Picture, Worklist, make_worklist

__all__ = ["Case", "NearestLabelled", "NearestNormals", "Picture", "Worklist", "make_worklist", "write_report"]
