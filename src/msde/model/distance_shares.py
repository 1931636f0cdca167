"""What an image's distance from the normals is made of: its share by network, view, pooling and level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from msde.embedding.encoder import Block
from msde.errors import MSDEError
from msde.method.scorers import InductiveScorer, Scorer


@dataclass(frozen=True)
class DistanceShare:
    """Part of an image's squared distance from the normals.

    Parameters
    ----------
    path : str
        The image.
    network, view, pooling, level : str
        Of the columns of the embedding, as in :class:`msde.embedding.encoder.Block`.
    share : float
        Of the squared distance; the shares of an image add up to 1. One below 0 makes the image less odd.
    """

    path: str
    network: str
    view: str
    pooling: str
    level: str
    share: float


def check_shares(scorer: Scorer) -> InductiveScorer:
    """Return a scorer whose score is the distance of one image.

    Raises
    ------
    MSDEError
        If the score of its mode is something else.
    """
    if not isinstance(scorer, InductiveScorer):
        raise MSDEError(
            "only a model of inductive mode tells what a distance is made of; fit without --mode and --abnormal"
        )
    return scorer


def distance_shares(
    scorer: InductiveScorer, blocks: Sequence[Block], path: str, embedding: NDArray[np.float32]
) -> list[DistanceShare]:
    """Compute what an image's squared Mahalanobis distance is made of.

    Parameters
    ----------
    scorer : InductiveScorer
    blocks : sequence of Block
        Of the embedding, in order.
    path : str
        The image.
    embedding : ndarray of shape (d,)

    Returns
    -------
    list of DistanceShare
        One a block.
    """
    parts = scorer.gaussian.contributions(scorer.measured(embedding[None]))[0]
    starts = np.cumsum([0, *(block.width for block in blocks[:-1])])
    sums = np.add.reduceat(parts, starts)
    shares = sums / max(sums.sum(), np.finfo(np.float64).tiny)
    return [DistanceShare(path, *block[:-1], float(share)) for block, share in zip(blocks, shares, strict=True)]
