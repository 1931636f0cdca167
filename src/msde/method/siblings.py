"""Whether rows that lie side by side look like images of one patient."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from msde.method.arrays import FloatArray, IndexArray, evenly_spaced

FEWEST_ROWS = 20
MOST_COMPARED = 500
CLEAR = 0.1


class Nearness(NamedTuple):
    """Medians of the cosines to the nearest other row.

    Parameters
    ----------
    all_rows : float
        Of all rows.
    other_groups : float
        Of those alone that are held out with another group.
    """

    all_rows: float
    other_groups: float

    @property
    def tells(self) -> bool:
        """Whether a row's own group is so much nearer that its images are hardly of different patients."""
        return self.all_rows - self.other_groups > CLEAR


def nearness(rows: FloatArray, groups: IndexArray) -> Nearness:
    """Compare how near each row's own group and the others come to it.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Standardised; at most 500 of them, evenly spaced, are compared with all.
    groups : ndarray of shape (n,)
        What each row is held out with.
    """
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(rows.dtype).tiny)
    chosen = evenly_spaced(len(rows), MOST_COMPARED)
    cosines = unit[chosen] @ unit.T
    cosines[np.arange(len(chosen)), chosen] = -np.inf
    nearest = cosines.max(axis=1)
    cosines[groups[chosen, None] == groups] = -np.inf
    return Nearness(float(np.median(nearest)), float(np.median(cosines.max(axis=1))))
