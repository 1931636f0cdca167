"""Heat maps as files: two PNG files an image, below one folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msde.errors import OutputError
from msde.heatmaps.colours import with_bar
from msde.model.explanation import Explained
from msde.model.score import ImageScore
from msde.output.png import write_png
from msde.storage.atomic import make_folder, writing

DEPTH = 65535
_ROWS = 256


class HeatFiles:
    """A folder of overlays and heat maps.

    An image ``scans/a.png`` below the folder that all images have in common becomes ``DIR/scans/a.png.overlay.png``,
    the overlay at the image's resolution with the colour bar to its right, and ``DIR/scans/a.png.heat.png``, the heat
    in 16 bits, 65535 being 1. Different images have different names, none of which leads out of the folder.

    Parameters
    ----------
    folder : path-like
        Made if need be.
    images : sequence of path-like
        All that will come.

    Raises
    ------
    OutputError
        If the folder cannot be made, or holds some of the images.
    """

    def __init__(self, folder: str | os.PathLike[str], images: Sequence[str | os.PathLike[str]]) -> None:
        self._folder = Path(folder)
        places = {os.path.dirname(os.path.abspath(image)) for image in images}
        self._common = os.path.commonpath(places) if places else os.getcwd()
        inside = os.path.join(os.path.realpath(folder), "")
        for place in places:
            if os.path.join(os.path.realpath(place), "").startswith(inside):
                raise OutputError(f"{folder}: holds images to be scored; give another folder for their heat maps")
        make_folder(self._folder)

    def written(self, explained: Explained) -> ImageScore:
        """Return a score after the files of its image are complete; for `AnomalyModel.explain_each`.

        Raises
        ------
        OutputError
            If a file cannot be written.
        """
        score, explanation = explained
        if explanation is not None:
            place = self._folder / os.path.relpath(os.path.abspath(score.path), self._common)
            make_folder(place.parent)
            pictures: dict[str, NDArray[Any]] = {
                "overlay": with_bar(explanation.overlay, explanation.onset, explanation.colours.calm),
                "heat": _sixteen_bits(explanation.heat),
            }
            for kind, pixels in pictures.items():
                with writing(place.with_name(f"{place.name}.{kind}.png"), keep=True) as unfinished:
                    write_png(unfinished, pixels)
        return score


def _sixteen_bits(heat: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round heat (h, w) to 16 bits, some rows at a time."""
    made = np.empty(heat.shape, np.uint16)
    for top in range(0, len(heat), _ROWS):
        made[top : top + _ROWS] = np.rint(heat[top : top + _ROWS] * DEPTH)
    return made
