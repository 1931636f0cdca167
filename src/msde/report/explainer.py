"""Where a picture differs from the normals, if a model can tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msde.model.anomaly_model import AnomalyModel

if TYPE_CHECKING:
    from msde.embedding.embed import ImageSource
    from msde.model.explanation import Explanation

    Explain = Callable[[ImageSource], Explanation]


def explainer(model: AnomalyModel) -> Explain | None:
    """Return what takes an image and gives an object with its ``overlay``, RGB, or None where the model cannot tell."""
    return model.explain if model.localizer_ is not None else None
