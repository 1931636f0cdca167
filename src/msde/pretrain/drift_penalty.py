"""What the detector measures at the start of a training: the Gaussian of the normals. Needs torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from msde.method.gaussian import fit_ledoit_wolf

if TYPE_CHECKING:
    import torch

SMALLEST_SPREAD = 1e-6


@dataclass(frozen=True, eq=False)
class DriftPenalty:
    """Where a network puts normals before it is trained, in standard deviations of normals."""

    places: torch.Tensor  # (n, d): white embeddings of the normals
    units: torch.Tensor  # (d, d): maps embeddings to white ones

    @classmethod
    def fit(cls, rows: NDArray[np.float32], learning: NDArray[np.intp], device: torch.device) -> DriftPenalty:
        """Fit a Ledoit-Wolf Gaussian to the embeddings (n, d) of normals, those of them to learn from."""
        import torch

        spread = rows[learning].std(axis=0) + SMALLEST_SPREAD
        units = fit_ledoit_wolf(rows[learning] / spread).whitening_of_all / spread[:, None]
        places, units = (torch.from_numpy(each.astype(np.float32)) for each in (rows @ units, units))
        return cls(places.to(device), units.to(device))

    def distance(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Return squared Mahalanobis distances from the normals' centre, divided by d: about 1 for a normal."""
        return ((embeddings @ self.units - self.places.mean(0)) ** 2).mean(1)

    def drift(self, embeddings: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Return the mean squared distance, divided by d, of normals (numbers in `rows`) from where they were."""
        return ((embeddings @ self.units - self.places[rows]) ** 2).mean()
