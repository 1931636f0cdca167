"""A simulated patient: the template seen through another head's shape, another plane and another scanner.

Nothing here is measured on people: every range is a plain choice that keeps the pictures plausible.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

SIDE = 224
"""Pixels a side of a slice."""
SPACING = 1.0
"""Millimetres a pixel."""
_CENTRE = (98.0, 113.0)  # voxel of the template that a slice has in its middle
_LEVELS = (77.0, 90.0)  # voxels: from the basal ganglia to the bodies of the lateral ventricles


def smooth_field(rng: np.random.Generator, cells: int, spread: float) -> FloatArray:
    """Draw a smooth random field of shape (SIDE, SIDE): ``cells`` knots of cubic splines a side, a given deviation."""
    splines = _splines(cells)
    knots = rng.normal(0.0, spread, (cells + 3, cells + 3))
    # Without BLAS: its sums change with the number of threads, and the files are to be equal everywhere.
    return np.asarray(np.einsum("rk,ck->rc", np.einsum("rj,jk->rk", splines, knots), splines))


@lru_cache(maxsize=8)
def _splines(cells: int) -> FloatArray:
    """Return cubic B-splines as columns, shape (SIDE, cells + 3), scaled to pass the knots' deviation on."""
    away = np.abs(np.arange(SIDE)[:, None] * cells / SIDE - np.arange(-1, cells + 2))
    values = np.clip(2 - away, 0, None) ** 3 - 4 * np.clip(1 - away, 0, None) ** 3
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True))


@dataclass(frozen=True)
class Patient:
    """A head's shape and a scanner's look, drawn once; the same for the healthy and the ill."""

    # (3, SIDE, SIDE): voxel of the template that each pixel shows; rows run from front to back, columns from right to
    # left
    coordinates: FloatArray
    gamma: float  # contrast exponent
    brightness: float  # of white matter
    blur: float  # its width in pixels
    noise: float  # its deviation
    bias: FloatArray  # (SIDE, SIDE): factor by which the coil brightens each pixel
    grain: FloatArray  # (2, SIDE, SIDE): unit noise of the two receiver channels

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Patient:
        """Draw a patient at random."""
        return cls(
            coordinates=_coordinates(rng),
            gamma=rng.uniform(0.85, 1.25),
            brightness=rng.uniform(0.66, 0.78),
            blur=rng.uniform(0.3, 0.8),
            noise=rng.uniform(0.008, 0.022),
            bias=np.exp(smooth_field(rng, 2, 0.06)),
            grain=rng.normal(size=(2, SIDE, SIDE)),
        )

    def anatomy(self, template: NDArray[np.float32], coordinates: FloatArray | None = None) -> FloatArray:
        """Sample the template in this patient's plane, or at other coordinates: brightness in [0, 1]."""
        from scipy.ndimage import map_coordinates

        where = self.coordinates if coordinates is None else coordinates
        return np.asarray(map_coordinates(template, where, order=1, output=np.float64))

    def scan(self, anatomy: FloatArray) -> NDArray[np.uint8]:
        """Give anatomy this scanner's contrast, coil, sharpness and noise: 8 bits, black outside the brain."""
        from scipy.ndimage import gaussian_filter

        inside = gaussian_filter((anatomy > 0.02).astype(np.float64), 0.7)
        clean = gaussian_filter(anatomy, self.blur) ** self.gamma * self.brightness / 0.8**self.gamma * self.bias
        noisy = np.hypot(clean + self.noise * self.grain[0], self.noise * self.grain[1])
        return np.asarray(np.rint(255 * np.clip(noisy * inside, 0.0, 1.0)), dtype=np.uint8)


def _coordinates(rng: np.random.Generator) -> FloatArray:
    rows, columns = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    turn = np.deg2rad(rng.normal(0.0, 3.0))
    right, front = -columns * SPACING, -rows * SPACING
    stretch = rng.normal(1.0, 0.025, 2)
    shift = rng.normal(0.0, 2.0, 2)
    tilt = np.tan(np.deg2rad(rng.normal(0.0, 2.0, 2)))
    x = (np.cos(turn) * right - np.sin(turn) * front) * stretch[0] + shift[0]
    y = (np.sin(turn) * right + np.cos(turn) * front) * stretch[1] + shift[1]
    z = rng.uniform(*_LEVELS) + tilt[0] * x + tilt[1] * y
    bend = [smooth_field(rng, 5, 1.9) + smooth_field(rng, 13, 0.6) for _ in range(3)]
    return np.stack([_CENTRE[0] + x + bend[0], _CENTRE[1] + y + bend[1], z + 0.7 * bend[2]])
