"""How well heat maps find what masks mark: pixel AUROC, pixel average precision and AUPRO."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from msde.method.metrics import auroc_of_counts, average_precision_of_counts

BINS = 2**16
FPR_LIMIT = 0.3


@dataclass(frozen=True)
class PixelFigures:
    """Figures of heat maps over all pixels of all images, each in [0, 1].

    `aupro` is the area under the curve of the per-region overlap, the mean over the marked regions of the share of each
    that is found, up to a false-positive rate of 0.3 and divided by that. Bergmann et al., "The MVTec Anomaly Detection
    Dataset", International Journal of Computer Vision 129:1038, 2021. Regions are 8-connected.
    """

    auroc: float  # of single pixels
    ap: float  # likewise
    aupro: float
    n_images: int  # with a mask that marks something
    n_regions: int  # of these, in all


class PixelCounter:
    """Counts pixels by heat, so memory does not grow with the images.

    Heat is rounded to 16 bits, as in the files of `msde score --heatmaps`.
    """

    def __init__(self) -> None:
        self._normal = np.zeros(BINS, np.int64)
        self._marked = np.zeros(BINS, np.int64)
        self._found = np.zeros(BINS)  # over the regions, the summed shares of their pixels in each bin
        self._n_images = self._n_regions = 0

    def add(self, heat: NDArray[np.floating], mask: NDArray[np.bool_] | None = None) -> None:
        """Count an image by its heat (h, w) in [0, 1] and the mask of what is abnormal, nothing by default."""
        from scipy.ndimage import label

        bins = np.rint(heat * (BINS - 1)).astype(np.intp)
        if mask is None or not mask.any():
            self._normal += np.bincount(bins.ravel(), minlength=BINS)
            return
        self._normal += np.bincount(bins[~mask], minlength=BINS)
        self._marked += np.bincount(bins[mask], minlength=BINS)
        numbers, n_regions = label(mask, np.ones((3, 3)))
        regions = numbers[mask]
        self._found += np.bincount(bins[mask], 1 / np.bincount(regions)[regions], minlength=BINS)
        self._n_images += 1
        self._n_regions += n_regions

    def figures(self) -> PixelFigures | None:
        """Return the figures, or None where nothing was marked, or everything."""
        if not self._normal.any() or not self._marked.any():
            return None
        counts = self._normal[None], self._marked[None]
        return PixelFigures(
            float(auroc_of_counts(*counts)[0]),
            float(average_precision_of_counts(*counts)[0]),
            self._aupro(),
            self._n_images,
            self._n_regions,
        )

    def _aupro(self) -> float:
        """Integrate the overlap over the false-positive rate, thresholds from the highest heat down."""
        rate = np.concatenate([[0.0], np.cumsum(self._normal[::-1]) / self._normal.sum()])
        overlap = np.concatenate([[0.0], np.cumsum(self._found[::-1]) / self._n_regions])
        at_limit = np.interp(FPR_LIMIT, rate, overlap)
        within = rate < FPR_LIMIT
        area = np.trapezoid(np.append(overlap[within], at_limit), np.append(rate[within], FPR_LIMIT))
        return float(area / FPR_LIMIT)
