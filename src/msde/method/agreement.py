"""How far two readers agree beyond chance."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

_Z = 1.959964  # of a 95 % interval


@dataclass(frozen=True)
class Agreement:
    """Agreement of two readers on the images that both have read.

    Parameters
    ----------
    n, agreed : int
        Images, and those of which both say the same.
    kappa : float
        Cohen's (1960): 1 where they agree on all, 0 where as often as by chance; NaN where both say one word of all.
    low, high : float
        Its 95 % interval, by the large-sample variance of Fleiss, Cohen and Everitt (1969); NaN likewise.
    """

    n: int
    agreed: int
    kappa: float
    low: float
    high: float


def agreement(first: Sequence[Hashable], second: Sequence[Hashable]) -> Agreement:
    """Compute how far two readers agree.

    Parameters
    ----------
    first, second : sequence of hashable
        What each says of the same images, at least one.

    Examples
    --------
    >>> found = agreement("nnnnaaaaun", "nnnaaaaanu")
    >>> found.agreed, round(found.kappa, 2)
    (7, 0.49)
    """
    words = {word: number for number, word in enumerate(dict.fromkeys([*first, *second]))}
    table = np.zeros((len(words), len(words)), int)
    for one, other in zip(first, second, strict=True):
        table[words[one], words[other]] += 1
    n, agreed = int(table.sum()), int(np.trace(table))
    # As fractions, because the variance may be 0, and its root would make much of what rounding leaves of that.
    shares = table.astype(object) * Fraction(1, n)
    of_first, of_second = shares.sum(axis=1), shares.sum(axis=0)
    by_chance = of_first @ of_second
    if by_chance == 1:
        return Agreement(n, agreed, math.nan, math.nan, math.nan)
    kappa = (Fraction(agreed, n) - by_chance) / (1 - by_chance)
    # The chance that one is right when the other says so, by row and column of the table.
    sums = of_second[:, None] + of_first[None, :]
    same = (np.diag(shares) * (1 - np.diag(sums) * (1 - kappa)) ** 2).sum()
    apart = (1 - kappa) ** 2 * ((shares - np.diag(np.diag(shares))) * sums**2).sum()
    variance = (same + apart - (kappa - by_chance * (1 - kappa)) ** 2) / (n * (1 - by_chance) ** 2)
    half = _Z * math.sqrt(variance)
    return Agreement(n, agreed, float(kappa), max(-1.0, float(kappa) - half), min(1.0, float(kappa) + half))
