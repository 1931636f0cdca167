"""What a flag tells where few or many of the images are abnormal."""

from __future__ import annotations

import math
from dataclasses import dataclass

PREVALENCE = 0.01
"""Share of abnormal images that is taken where none is stated."""


@dataclass(frozen=True)
class PredictiveValue:
    """What a flag tells at a prevalence.

    Parameters
    ----------
    prevalence : float
        Share of abnormal images, in (0, 1).
    false_alarm_rate : float
        Share of the normal images that is flagged.
    sensitivity : float
        Share of the abnormal images that is flagged; 1 for the most that a flag can tell.
    """

    prevalence: float
    false_alarm_rate: float
    sensitivity: float = 1.0

    @property
    def flags(self) -> float:
        """Expected flags in 1,000 images."""
        return 1000 * self.prevalence * self.sensitivity + self.false_flags

    @property
    def false_flags(self) -> float:
        """Expected flags of normal images in 1,000 images."""
        return 1000 * (1 - self.prevalence) * self.false_alarm_rate

    @property
    def positive(self) -> float:
        """Share of flagged images that is abnormal; NaN where none is flagged."""
        return 1 - self.false_flags / self.flags if self.flags else math.nan

    @property
    def negative(self) -> float:
        """Share of images without a flag that is normal; NaN where all are flagged."""
        missed = 1000 * self.prevalence * (1 - self.sensitivity)
        unflagged = 1000 - self.flags
        return 1 - missed / unflagged if unflagged > 0 else math.nan
