"""A small data set that needs no network, and a picture of how a model fares on it."""

from msde.demo.picture import DemoCase, draw_cases
from msde.demo.slices import DemoSet, write_demo_set

__all__ = ["DemoCase", "DemoSet", "draw_cases", "write_demo_set"]
