"""What a network has seen of images: arrays only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class RawMaps(NamedTuple):
    """What a network has seen of n images through one view."""

    pixels: NDArray[np.float32]  # (n, 3, size, size), as the network saw them
    fine: NDArray[np.float32]  # (n, c, h, w): its last but one feature map
    coarse: NDArray[np.float32]  # (n, c, h, w): its last
