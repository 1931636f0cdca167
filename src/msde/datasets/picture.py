"""One picture of an array of pictures, with a name."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Picture(np.ndarray[Any, np.dtype[Any]]):
    """An array of shape (H, W) or (H, W, 3) that knows its name; whatever takes an image as an array takes it.

    Its pixels stay where the array they came from has them, such as in a file mapped into memory, until they are used.

    Attributes
    ----------
    name : str
        Such as ``octmnist.npz#test_images/12``.
    """

    name: str = ""

    @classmethod
    def of(cls, pixels: NDArray[Any], name: str) -> Picture:
        """Name a view of an array; it shares the array's memory."""
        picture = pixels.view(cls)
        picture.name = name
        return picture

    def __str__(self) -> str:
        return self.name or super().__str__()
