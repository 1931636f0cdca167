"""A labelled data set: what to train on, what to test on, and where the lesions are."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from msde.datasets.picture import Picture
from msde.images import Part

Item = Path | Part | Picture
"""One image, as `msde.AnomalyModel.embed` takes it."""


@dataclass(frozen=True)
class Dataset:
    """Images of a data set, split and labelled as its archive has them.

    Parameters
    ----------
    name : str
        Such as ``RSNA``; by default the folder's.
    layout : str
        How the images lie in the folder, such as ``data.json``.
    train : tuple of Path, Part and Picture
        Normals to train on, at least one.
    normal, abnormal : tuple of Path, Part and Picture
        Images to test on; either may be empty, and then there is no AUROC.
    masks : dict of Path to Path
        Abnormal image to the picture of its lesions, for those that have one.
    unlabelled_train : tuple of Path, Part and Picture
        Images to train on whose class is not to be used, where the layout has such.
    notes : tuple of str
        What the folder holds besides and is left out, or lacks, one sentence each.
    """

    name: str
    layout: str
    train: tuple[Item, ...]
    normal: tuple[Item, ...]
    abnormal: tuple[Item, ...]
    masks: dict[Path, Path] = field(default_factory=dict)
    unlabelled_train: tuple[Item, ...] = ()
    notes: tuple[str, ...] = ()
