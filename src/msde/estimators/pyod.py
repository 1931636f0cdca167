"""The detector with PyOD's signs and names, for those whose code expects a PyOD model; needs the extra `pyod`."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pyod.models.base import BaseDetector

from msde.estimators.detector import MSDEDetector
from msde.method.detection import Mode


class MSDE(BaseDetector):  # type: ignore[misc]
    """MSDEDetector as a PyOD model: high scores and label 1 are abnormal.

    Parameters
    ----------
    contamination : float, default=0.1
        Share of the training rows that gets label 1, in (0, 0.5]; PyOD's notion, on held-out scores.
    mode : {"inductive", "transductive"}, default="inductive"
        As in :class:`msde.MSDEDetector`.

    Attributes
    ----------
    decision_scores_ : ndarray of shape (n,)
        Anomaly scores of the training rows, each by a detector that has not seen it; with fewer than three rows the
        scores of the fitted detector itself.
    threshold_ : float
        Score above which `predict` gives 1.
    labels_ : ndarray of shape (n,)
        0 or 1 for the training rows.
    detector_ : MSDEDetector

    Examples
    --------
    >>> import numpy as np
    >>> from msde.estimators.pyod import MSDE
    >>> rows = np.random.default_rng(0).normal(size=(200, 4))
    >>> MSDE().fit(rows).predict([[0, 0, 0, 0], [9, 9, 9, 9]])
    array([0, 1])
    """

    def __init__(self, contamination: float = 0.1, mode: Mode = "inductive") -> None:
        super().__init__(contamination=contamination)
        self.mode = mode

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from rows of shape (n, d), most of them normal; `y` is ignored."""
        self._set_n_classes(y)
        self.detector_ = MSDEDetector(self.mode).fit(X)
        held_out = self.detector_.cross_fitted_scores()
        self.decision_scores_ = held_out if len(held_out) else self.detector_.anomaly_score(X)
        self._process_decision_scores()
        return self

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return the anomaly score of each row of X (m, d): high is abnormal."""
        return self.detector_.anomaly_score(X)
