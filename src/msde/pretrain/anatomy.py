"""Where the anatomy is in the images of a set, found without labels: lungs in chest X-rays, the brain, the retina.

The published rule for lungs (equalise, threshold, clean, drop what touches the border) keeps the dark phase. Here both
phases, dark and bright, go through it, and the one of which more stays in the middle image of the set is the anatomy:
lungs full of air inside a bright body, which the border cuts off, but a bright brain on a black background.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

GRID = 8  # tiles a side
LEVELS = 256  # gray levels of the histograms
CLIP = 0.02  # share of a tile's pixels that one gray level may count
# Share of the border that a part may lie along. The dark beside an organ is background; a bright organ may be cut off.
DARK_BORDER, BRIGHT_BORDER = 0.0, 0.15
SMALLEST_PART = 400 / 256**2  # share of the image
WHITE = 255
RED, GREEN, BLUE = 0.299, 0.587, 0.114

Mask = NDArray[np.bool_]


def anatomy_masks(images: Sequence[NDArray[Any]], each: Callable[..., Iterable[Any]] = map) -> NDArray[np.bool_]:
    """Find the anatomy in images of one kind, (3, H, W), in [0, 1] or uint8; return (n, H, W), True inside.

    A mask is all False where nothing is found. `each` applies a function to each image, such as the `map` of a pool of
    threads. After the AnatPaste pretext task (Sato et al., arXiv 2210.12227): CLAHE, Otsu's threshold, opening, clear
    border, dilation, parts under 400 of 256 x 256 px dropped.
    """
    found = np.array(list(each(phases, images)))
    kept = np.median(found.mean(axis=(2, 3)), axis=0)
    return found[:, int(np.argmax(kept))]


def phases(image: NDArray[Any]) -> tuple[Mask, Mask]:
    """Return what stays of the dark and of the bright phase of an image."""
    gray = RED * image[0] + GREEN * image[1] + BLUE * image[2]
    gray = equalise(gray / WHITE if image.dtype == np.uint8 else gray)
    bright = gray > otsu(gray)
    return clean(~bright, DARK_BORDER), clean(bright, BRIGHT_BORDER)


def clean(phase: Mask, most_border: float) -> Mask:
    """Keep the parts of a phase that are neither specks nor background, and fill their holes."""
    from scipy import ndimage

    square = np.ones((3, 3), bool)
    parts, count = ndimage.label(ndimage.binary_opening(phase, square))
    border = np.concatenate([parts[0], parts[-1], parts[1:-1, 0], parts[1:-1, -1]])
    along = np.bincount(border, minlength=count + 1) / len(border)
    area = np.bincount(parts.ravel(), minlength=count + 1) / parts.size
    kept = (along <= most_border) & (area >= SMALLEST_PART)
    kept[0] = False
    return ndimage.binary_fill_holes(ndimage.binary_dilation(kept[parts], square))


def otsu(gray: NDArray[np.floating]) -> float:
    """Return the threshold in [0, 1] that separates two classes of gray levels best (Otsu 1979)."""
    counts, edges = np.histogram(gray, LEVELS, (0.0, 1.0))
    centres = (edges[:-1] + edges[1:]) / 2
    below, sums = np.cumsum(counts), np.cumsum(counts * centres)
    above = below[-1] - below
    with np.errstate(invalid="ignore", divide="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(edges[1 + np.argmax(np.nan_to_num(between))])


def equalise(gray: NDArray[np.floating]) -> NDArray[np.float64]:
    """Equalise a gray image in [0, 1] tile by tile, with limited contrast (CLAHE, Zuiderveld 1994)."""
    level = np.clip(gray * (LEVELS - 1) + 0.5, 0, LEVELS - 1).astype(np.intp)
    rows, columns = (np.arange(n) * GRID // n for n in gray.shape)
    tile = rows[:, None] * GRID + columns
    counts = np.bincount((tile * LEVELS + level).ravel(), minlength=GRID * GRID * LEVELS).reshape(-1, LEVELS)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    clipped = np.minimum(shares, CLIP)
    clipped += (1 - clipped.sum(axis=1, keepdims=True)) / LEVELS
    table = np.cumsum(clipped, axis=1).reshape(GRID, GRID, LEVELS)
    (top, bottom, down), (left, right, across) = (neighbours(n) for n in gray.shape)
    down, across = down[:, None], across[None, :]
    upper = (1 - across) * table[top[:, None], left, level] + across * table[top[:, None], right, level]
    lower = (1 - across) * table[bottom[:, None], left, level] + across * table[bottom[:, None], right, level]
    return np.clip((1 - down) * upper + down * lower, 0, 1)


def neighbours(n: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Return, for each of n pixels, the tiles with centres before and behind it, and how far it is between them."""
    position = np.clip((np.arange(n) + 0.5) * GRID / n - 0.5, 0, GRID - 1)
    before = np.minimum(position.astype(np.intp), GRID - 2)
    return before, before + 1, position - before
