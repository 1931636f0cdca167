"""Where a picture differs from the normals, if a model can tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msde.pipeline import AnomalyModel

Explain = Callable[[Any], Any]


def explainer(model: AnomalyModel) -> Explain | None:
    """Return what takes an image and gives an object with its ``overlay``, RGB, or None where the model cannot tell."""
    return getattr(model, "explain", None) if getattr(model, "localizer_", None) is not None else None
