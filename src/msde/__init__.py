"""Anomaly detection in medical images: train on normals, score, explain and rank each new image.

For research use only; not a medical device.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from msde.estimators.density import GaussianDensity
    from msde.estimators.detector import MSDEDetector
    from msde.estimators.enhancer import MeanShiftEnhancer
    from msde.model.anomaly_model import AnomalyModel

__all__ = ["AnomalyModel", "GaussianDensity", "MSDEDetector", "MeanShiftEnhancer"]
__version__ = "1.0.0"  # the one place that states it; pyproject.toml reads it here

# Imported on first use, so that scoring a saved model does not wait for scikit-learn.
_HOMES = {
    "AnomalyModel": "msde.model.anomaly_model",
    "GaussianDensity": "msde.estimators.density",
    "MSDEDetector": "msde.estimators.detector",
    "MeanShiftEnhancer": "msde.estimators.enhancer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
