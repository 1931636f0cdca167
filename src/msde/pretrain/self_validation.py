"""How good an encoder is, told without labels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from msde.method.metrics import auroc
from msde.pretrain.images import PretrainImages
from msde.pretrain.tasks import KINDS, TASKS

MOST_FITTED = 256
OWN_NUMBER = 2**31  # apart from the numbers of the steps, which draw from the same seed

Embed = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class SelfValidation:
    """How well the default detector tells held-out normals from their synthetic anomalies, drawn once by the seed.

    The anomalies are of the kinds that the task does not train on, because a network may learn to see the seams of its
    own pastes and nothing else.
    """

    def __init__(self, normals: PretrainImages, task: str, seed: int) -> None:
        rng = np.random.default_rng((seed, OWN_NUMBER))
        rows = rng.permutation(normals.learning)[:MOST_FITTED]
        self.fitted = normals.images(rows)
        self.normal = normals.images(normals.held_out)
        self.anomalies = [
            np.stack([kind(*pair, rng) for pair in zip(self.normal, normals.anatomy[normals.held_out], strict=True)])
            for kind in KINDS
            if kind not in TASKS[task]
        ]

    def of(self, embed: Embed) -> float:
        """Return the AUROC in [0, 1], the mean over the kinds of anomalies, of an encoder.

        It takes images (n, 3, size, size) to embeddings (n, d).
        """
        from msde.estimators.detector import MSDEDetector

        detector = MSDEDetector().fit(embed(self.fitted))
        normal = detector.anomaly_score(embed(self.normal))
        return float(np.mean([auroc(normal, detector.anomaly_score(embed(each))) for each in self.anomalies]))
