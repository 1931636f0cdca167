"""Labelled data sets in the layouts that their archives unpack to: training normals, test images, masks."""

from msde.datasets.dataset import Dataset, Item
from msde.datasets.picture import Picture
from msde.datasets.reader import read_dataset

__all__ = ["Dataset", "Item", "Picture", "read_dataset"]
