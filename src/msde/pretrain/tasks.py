"""The pretext tasks: each makes synthetic anomalies of normal images for a network to tell from them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from msde.pretrain.anatomy import Mask

Pixels = NDArray[np.float32]
Augmentation = Callable[[Pixels, Mask, np.random.Generator], Pixels]

JITTER = 0.1  # largest change of brightness, contrast and saturation
FULL = 256  # the published lengths are pixels of images of this side
AREA = (0.02, 0.15)  # share of the image
ASPECT = (0.3, 3.3)
SCAR_WIDTH, SCAR_LENGTH = (2, 16), (10, 25)
SCAR_ANGLE = 45  # degrees to either side
OPACITY = (150 / 255, 1.0)
SOFTNESS = (0.0, 15.0)  # standard deviation of the blur of a patch's edge
TRIES = 10  # at a place where the patch meets the anatomy


def jittered(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Change brightness, contrast and saturation a little, in random order."""
    for change in rng.permutation(3):
        factor = np.float32(rng.uniform(1 - JITTER, 1 + JITTER))
        base = (np.float32(0), pixels.mean(), pixels.mean(axis=0))[change]
        pixels = base + factor * (pixels - base)
    return np.clip(pixels, 0, 1)


def side_lengths(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[int, int]:
    """Draw the height and width of a patch."""
    area = rng.uniform(*AREA) * shape[0] * shape[1]
    aspect = np.exp(rng.uniform(*np.log(ASPECT)))
    height, width = np.sqrt(area / aspect), np.sqrt(area * aspect)
    return min(max(round(height), 1), shape[0]), min(max(round(width), 1), shape[1])


def corner(shape: tuple[int, ...], height: int, width: int, rng: np.random.Generator) -> tuple[int, int]:
    """Draw the place of a patch."""
    return int(rng.integers(shape[0] - height + 1)), int(rng.integers(shape[1] - width + 1))


def patch(image: Pixels, height: int, width: int, rng: np.random.Generator) -> Pixels:
    """Cut a patch from a random place and jitter it."""
    y, x = corner(image.shape[1:], height, width, rng)
    return jittered(image[:, y : y + height, x : x + width], rng)


def cutpaste(image: Pixels, anatomy: Mask, rng: np.random.Generator) -> Pixels:
    """Paste a patch of the image elsewhere (CutPaste, Li et al., arXiv 2104.04015)."""
    height, width = side_lengths(anatomy.shape, rng)
    piece = patch(image, height, width, rng)
    y, x = corner(anatomy.shape, height, width, rng)
    changed = image.copy()
    changed[:, y : y + height, x : x + width] = piece
    return changed


def scar(image: Pixels, anatomy: Mask, rng: np.random.Generator) -> Pixels:
    """Paste a thin, turned patch of the image elsewhere (CutPaste-scar)."""
    from PIL import Image

    sides = sorted(anatomy.shape)
    unit = sides[0] / FULL
    width, length = (min(max(round(rng.uniform(*span) * unit), 2), sides[0]) for span in (SCAR_WIDTH, SCAR_LENGTH))
    angle = rng.uniform(-SCAR_ANGLE, SCAR_ANGLE)
    piece = [*patch(image, length, width, rng), np.ones((length, width), np.float32)]
    turned = [
        np.asarray(Image.fromarray(plane).rotate(angle, Image.Resampling.BILINEAR, expand=True)) for plane in piece
    ]
    turned = [plane[: anatomy.shape[0], : anatomy.shape[1]] for plane in turned]
    height, width = turned[-1].shape
    y, x = corner(anatomy.shape, height, width, rng)
    changed = image.copy()
    place = changed[:, y : y + height, x : x + width]
    place += np.stack(turned[:-1]) - turned[-1] * place  # both are multiplied by the opacity, the last plane
    return np.clip(changed, 0, 1)


def anatpaste(image: Pixels, anatomy: Mask, rng: np.random.Generator) -> Pixels:
    """Paste a soft, half-transparent patch of the image inside the anatomy (AnatPaste, Sato et al., arXiv 2210.12227).

    Where there is no anatomy, anywhere.
    """
    from scipy import ndimage

    allowed = anatomy if anatomy.any() else np.ones_like(anatomy)
    for _ in range(TRIES):
        height, width = side_lengths(anatomy.shape, rng)
        y, x = corner(anatomy.shape, height, width, rng)
        place = slice(y, y + height), slice(x, x + width)
        if allowed[place].any():
            break
    opacity = np.zeros(anatomy.shape, np.float32)
    opacity[place] = rng.uniform(*OPACITY) * shape_of(height, width, rng)
    softness = rng.uniform(*SOFTNESS) * min(anatomy.shape) / FULL
    opacity = ndimage.gaussian_filter(opacity, softness) * allowed
    y, x = corner(anatomy.shape, height, width, rng)
    other = jittered(np.roll(image, (place[0].start - y, place[1].start - x), axis=(1, 2)), rng)
    return image + opacity * (other - image)


def shape_of(height: int, width: int, rng: np.random.Generator) -> Pixels:
    """Draw a full rectangle or the ellipse in it."""
    if rng.random() < 0.5:
        return np.ones((height, width), np.float32)
    y = (np.arange(height) + 0.5) / height - 0.5
    x = (np.arange(width) + 0.5) / width - 0.5
    return (y[:, None] ** 2 + x**2 <= 0.25).astype(np.float32)


# Task -> the kinds of synthetic anomalies; the network tells them from normal and from each other.
TASKS: dict[str, tuple[Augmentation, ...]] = {
    "anatpaste": (anatpaste,),
    "cutpaste": (cutpaste,),
    "cutpaste-scar": (scar,),
    "cutpaste-3way": (cutpaste, scar),
}
KINDS = (anatpaste, cutpaste, scar)
