"""What a network has seen of images: arrays only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class RawMaps(NamedTuple):
    """What the first network has seen of n images through one view.

    Parameters
    ----------
    pixels : ndarray of shape (n, 3, size, size), float32
        As the network saw them.
    fine, coarse : ndarray of shape (n, c, h, w), float32
        Its last but one and its last feature map.
    """

    pixels: NDArray[np.float32]
    fine: NDArray[np.float32]
    coarse: NDArray[np.float32]
