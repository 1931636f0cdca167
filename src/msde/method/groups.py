"""Which rows belong together, by what is known of each."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import numpy as np

from msde.method.arrays import IndexArray

UNKNOWN = -1
"""Number of a row whose group is not known."""
N_RUNS = 10
_STRIDE = 3


def joined(keys: Sequence[Iterable[Hashable]]) -> IndexArray:
    """Join rows that share a key, directly or by way of others, to groups, and number these.

    Parameters
    ----------
    keys : sequence of iterables
        What is known of each of n rows, such as its patient and its volume.

    Returns
    -------
    ndarray of shape (n,), int
        Numbers from 0 in the order of the first rows, none left out; -1 for a row that has no key.
    """
    above = list(range(len(keys)))

    def root(row: int) -> int:
        while above[row] != row:
            above[row] = row = above[above[row]]
        return row

    first: dict[Hashable, int] = {}
    found = np.full(len(keys), UNKNOWN, dtype=np.intp)
    for row, of_row in enumerate(keys):
        for key in of_row:
            one, other = root(first.setdefault(key, row)), root(row)
            above[max(one, other)] = min(one, other)
            found[row] = 0
    numbers: dict[int, int] = {}
    for member in np.flatnonzero(found == 0).tolist():
        found[member] = numbers.setdefault(root(member), len(numbers))
    return found


def completed(groups: IndexArray) -> IndexArray:
    """Put runs of neighbours, a tenth of them each, in the place of rows whose group is not known.

    Images of one patient are mostly side by side, so a run parts few patients from themselves.

    Parameters
    ----------
    groups : ndarray of shape (n,), int
        As `joined` numbers them.

    Returns
    -------
    ndarray of shape (n,), int
        The same where they are known; runs have numbers of their own.
    """
    unknown = np.flatnonzero(groups == UNKNOWN)
    whole = groups.copy()
    if n := len(unknown):
        whole[unknown] = groups.max() + 1 + np.arange(n) * min(N_RUNS, n) // n
    return whole


def apart(groups: IndexArray) -> IndexArray | None:
    """Give rows of unknown groups numbers of their own; return None where no group is known.

    Parameters
    ----------
    groups : ndarray of shape (n,), int
        As `joined` numbers them.
    """
    unknown = np.flatnonzero(groups == UNKNOWN)
    if len(unknown) == len(groups):
        return None
    numbers = groups.copy()
    numbers[unknown] = groups.max() + 1 + np.arange(len(unknown))
    return numbers


def dealt_folds(groups: IndexArray, n_folds: int) -> list[IndexArray]:
    """Deal groups to folds, rows of unknown groups in runs of neighbours; so all rows where there is but one group.

    Parameters
    ----------
    groups : ndarray of shape (n,), int
        As `joined` numbers them.
    n_folds : int
        How many folds there are at most; there are no more than groups.

    Returns
    -------
    list of ndarray
        The rows of each fold; neighbouring runs are far apart in the list, so that its first folds are of all places.
    """
    _, numbers = np.unique(completed(groups), return_inverse=True)
    if not numbers.any():
        numbers = completed(np.full(len(groups), UNKNOWN))
    n_folds = min(n_folds, int(numbers.max(initial=0)) + 1)
    spread = sorted(range(n_folds), key=lambda number: (number % _STRIDE, number))
    return [np.flatnonzero(numbers % n_folds == number) for number in spread]
