"""What a fit tells of its images."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class FitReport:
    """What became of the training images; no model file keeps it.

    Parameters
    ----------
    unreadable : list of str
        One line for each image that could not be used.
    distrusted : list of str
        Names of normals that stand out from the others, the most doubtful first.
    n_copies : int
        Exact copies of other images, which are left out.
    peak : float
        The brightest pixel of all normals, in [0, 1]; NaN where that is not known.
    notes : list of str
        What is to be told of the patients of the normals.
    """

    unreadable: list[str] = field(default_factory=list)
    distrusted: list[str] = field(default_factory=list)
    n_copies: int = 0
    peak: float = float("nan")
    notes: list[str] = field(default_factory=list)
