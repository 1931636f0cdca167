"""What there is to report about an image or a series."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import datetime

from msde.errors import DataError

RESEARCH_USE = "Research use only, not for diagnosis"
MAX_TEXT = 4000

_LONG_STRING = 64  # characters that DICOM allows in a value of type LO
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Result:
    """A score, what it means, and who says so.

    Parameters
    ----------
    anomaly_score : float
        The higher the more abnormal; finite.
    p_value : float
        How often a normal scores at least as high, in (0, 1]; NaN where there is none, and then it is left out.
    threshold : float
        Score above which an image is flagged; infinite or NaN where there is none, and then it is left out.
    alpha : float
        Target false-alarm rate, in (0, 1).
    flagged : bool or None
        Whether the score lies above the threshold; None where that is not known.
    model_name, model_version : str
        1 to 64 characters in one line, without backslash.
    model_sha256 : str
        64 hexadecimal digits that stand for everything that a score depends on, calibration included.
    text : str
        What the reader is told, at most 4,000 characters; may be empty.
    scored_at : datetime
        When the image was scored, in the local time of the place.

    Raises
    ------
    DataError
        If a value is none of these.
    """

    anomaly_score: float
    p_value: float
    threshold: float
    alpha: float
    flagged: bool | None
    model_name: str
    model_version: str
    model_sha256: str
    text: str
    scored_at: datetime

    def __post_init__(self) -> None:
        """Refuse what no DICOM object could hold."""
        line = f"must be 1 to {_LONG_STRING} characters in one line without backslash"
        sound = {
            "anomaly_score must be finite; leave out images without a score": math.isfinite(self.anomaly_score),
            "p_value must lie in (0, 1], or be NaN": math.isnan(self.p_value) or 0 < self.p_value <= 1,
            "alpha must lie in (0, 1)": 0 < self.alpha < 1,
            f"model_name {line}": _is_line(self.model_name),
            f"model_version {line}": _is_line(self.model_version),
            "model_sha256 must be 64 lower-case hexadecimal digits": _SHA256.fullmatch(self.model_sha256),
            f"text must be at most {MAX_TEXT} characters without control characters but line feeds": (
                len(self.text) <= MAX_TEXT and not _CONTROL.search(self.text.replace("\n", ""))
            ),
        }
        for rule, holds in sound.items():
            if not holds:
                raise DataError(f"the result cannot be stored as DICOM: {rule}")


def _is_line(text: str) -> bool:
    return len(text.strip()) > 0 and len(text) <= _LONG_STRING and not _CONTROL.search(text) and "\\" not in text
