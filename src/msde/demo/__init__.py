"""A small data set that needs no network, and a picture of how a model fares on it."""

from msde.demo.few_labels import FewLabels, compare_few_labels, figures_of
from msde.demo.picture import DemoCase, draw_cases
from msde.demo.slices import DemoSet, write_demo_set

__all__ = ["DemoCase", "DemoSet", "FewLabels", "compare_few_labels", "draw_cases", "figures_of", "write_demo_set"]
