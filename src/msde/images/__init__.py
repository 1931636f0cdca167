"""One pixel pipeline: any image file or array to floats with a stated range."""

from msde.images.formats import SUFFIXES
from msde.images.paths import find_images
from msde.images.reader import read_pixels
from msde.images.remembered import forget
from msde.images.resize import from_input, to_input
from msde.images.rule import ImageRule, stored_rule
from msde.images.samples import MAX_PIXELS, MIN_SIDE
from msde.images.source import Part, expanded
from msde.images.squares import read_squares

__all__ = [
    "MAX_PIXELS",
    "MIN_SIDE",
    "SUFFIXES",
    "ImageRule",
    "Part",
    "expanded",
    "find_images",
    "forget",
    "from_input",
    "read_pixels",
    "read_squares",
    "stored_rule",
    "to_input",
]
