"""How a model wants its images: the rule for intensities, and how pictures that are no squares fit the network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msde.errors import ImageError
from msde.storage.records import put_together

ASPECTS = ("squeeze", "letterbox")
PLAIN_INTENSITIES = ("dicom", "full-range", "percentile")
RULES_VERSION = 2
"""Of how files are read. It goes up where a sound file gives other pixels than before; 1 is all that came before it."""

OUTDATED = (
    "the model was fitted when some kinds of files were read in another way (CHANGELOG.md lists them); if its normals"
    " are of such files, fit it again"
)

_KNOWN = f"{', '.join(PLAIN_INTENSITIES)} or window:LOW,HIGH"


@dataclass(frozen=True)
class ImageRule:
    """How files and arrays become a network's input; a model file states it, and scoring applies it.

    Parameters
    ----------
    intensity : str, default="dicom"
        Which samples become black and white; what lies beyond them is cut off.

        - ``dicom``: as the file asks to be shown. DICOM: modality LUT, then the first VOI LUT or window; without one
          -1000 to 1000 HU in CT, as ``percentile`` in MR, PET and scintigraphy and above 16 bits, else the range of the
          stored bits. NIfTI: ``cal_min`` to ``cal_max`` where the header states them, else the range of unsigned 8 or
          16 bits, else as ``percentile``. Every other file and arrays: as ``full-range``.
        - ``full-range``: what the type can hold: 255, 65535, a 12-bit file 4095, floats 1; types that state no range
          (signed or wider integers) are refused.
        - ``percentile``: the 0.5th and 99.5th percentile of each picture, a slice of a volume counting as one.
        - ``window:LOW,HIGH``: these two values, such as Hounsfield units or whatever the file stores.
    aspect : {"squeeze", "letterbox"}, default="squeeze"
        Squeeze a picture to a square as the published pipeline does, or keep its proportions between black bars.
    version : int, optional
        Version of the reading rules under which a model was fitted; by default the one at work. It is kept for a model
        to tell, and changes nothing: files are always read by the rules at work.

    Raises
    ------
    ImageError
        An unknown rule, or a window whose ends are no numbers in ascending order.
    """

    intensity: str = "dicom"
    aspect: str = "squeeze"
    version: int = RULES_VERSION

    def __post_init__(self) -> None:
        if self.aspect not in ASPECTS:
            raise ImageError(f"aspect {self.aspect!r} is unknown; give {' or '.join(ASPECTS)}")
        if self.intensity not in PLAIN_INTENSITIES:
            self.window()

    @property
    def outdated(self) -> bool:
        """Whether it is of a model that was fitted under other reading rules than those at work."""
        return self.version != RULES_VERSION

    def window(self) -> tuple[float, float]:
        """Return the two ends of ``window:LOW,HIGH``."""
        kind, _, ends = str(self.intensity).partition(":")
        try:
            low, high = (float(end) for end in ends.split(","))
        except ValueError:
            low = high = math.nan
        if kind != "window" or not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ImageError(f"intensity rule {self.intensity!r} is unknown; give {_KNOWN}, such as window:-1000,400")
        return low, high


LEGACY_RULE = ImageRule("full-range", "squeeze", 1)
"""The rule of models whose file states none."""


def stored_rule(settings: Mapping[str, Any]) -> ImageRule:
    """Read the rule from the settings of a model file; one of before the second version states less, or nothing."""
    stated = settings.get("images")
    return LEGACY_RULE if stated is None else put_together(ImageRule, {}, {"version": 1, **stated})
