"""Simulated lesions: an irregular mass with a soft edge, oedema around it, and tissue pushed aside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from msde.demo.patient import SIDE, FloatArray, smooth_field

# Brightness of a mass at its centre and at its wall, where white matter has 0.8: dark, bright, ring-shaped.
_KINDS = ((0.35, 0.42), (0.99, 0.94), (0.32, 0.97))
_OEDEMA = 0.52
_MASK_LEVEL = 0.5


@dataclass(frozen=True)
class Lesion:
    """One lesion in a slice."""

    row: float  # centre of the mass, in pixels
    column: float  # likewise
    radius: float  # mean, in pixels
    distance: FloatArray  # (SIDE, SIDE): irregular distance of each pixel from the centre, 1 at the edge of the mass
    kind: tuple[float, float]  # brightness at centre and wall
    strength: float  # from 0 (not to be seen) to 1 (plain)
    reach: float  # how far the oedema goes, in radii
    push: float  # how far tissue is pushed aside, in radii

    @classmethod
    def draw(cls, rng: np.random.Generator, brain: NDArray[np.bool_]) -> Lesion:
        """Draw a lesion whose mass lies inside ``brain``, a mask of shape (SIDE, SIDE)."""
        from scipy.ndimage import distance_transform_edt

        radius = np.exp(rng.uniform(np.log(5.0), np.log(17.0)))
        depth = distance_transform_edt(brain)
        places = np.argwhere(depth > radius + 3)
        row, column = places[rng.integers(len(places))] + rng.uniform(-0.5, 0.5, 2)
        rows, columns = np.mgrid[:SIDE, :SIDE]
        angle = np.arctan2(rows - row, columns - column)
        waves = np.arange(1, 6)[:, None, None]
        swing = rng.normal(0.0, 0.2, (5, 1, 1)) / waves**1.2
        outline = 1 + (swing * np.cos(waves * angle + rng.uniform(0, 2 * np.pi, (5, 1, 1)))).sum(axis=0)
        distance = np.hypot(rows - row, columns - column) / (radius * np.clip(outline, 0.5, 1.5))
        return cls(
            row=float(row),
            column=float(column),
            radius=float(radius),
            distance=distance * np.exp(smooth_field(rng, 24, 0.08)),
            kind=_KINDS[rng.integers(len(_KINDS))],
            strength=rng.uniform(0.35, 1.0),
            reach=rng.uniform(1.3, 2.1),
            push=rng.uniform(0.0, 0.3),
        )

    def displace(self, coordinates: FloatArray) -> FloatArray:
        """Push the tissue around the mass aside: coordinates of shape (3, SIDE, SIDE) in, the same out."""
        rows, columns = np.mgrid[:SIDE, :SIDE]
        down, across = rows - self.row, columns - self.column
        share = self.push * np.exp(-((np.hypot(down, across) / (1.7 * self.radius)) ** 2))
        by_row, by_column = np.gradient(coordinates, axis=(1, 2))
        return np.asarray(coordinates - share * (down * by_row + across * by_column))

    def paint(self, anatomy: FloatArray, texture: FloatArray) -> FloatArray:
        """Blend mass and oedema into anatomy of shape (SIDE, SIDE); ``texture`` mottles them."""
        inside = anatomy > 0.02
        centre, wall = self.kind
        colour = centre + (wall - centre) / (1 + np.exp(-(self.distance - 0.72) / 0.06)) + texture
        # Oedema spreads through white matter (0.8) and hardly through cortex and fluid.
        white = np.clip((anatomy - 0.45) / 0.25, 0.0, 1.0)
        oedema = self._oedema() * self.strength * white
        mass = self._mass() * self.strength
        painted = anatomy + oedema * (_OEDEMA + texture - anatomy)
        return np.where(inside, np.clip(painted + mass * (colour - painted), 0.03, 1.2), anatomy)

    def mask(self, anatomy: FloatArray) -> NDArray[np.bool_]:
        """Mark mass and oedema within the brain: shape (SIDE, SIDE)."""
        return np.asarray((np.maximum(self._mass(), self._oedema()) > _MASK_LEVEL) & (anatomy > 0.02))

    def _mass(self) -> FloatArray:
        return _soft_edge(self.distance - 1.0, 0.8 / self.radius)

    def _oedema(self) -> FloatArray:
        return 0.9 * _soft_edge(self.distance - self.reach, 0.12)


def _soft_edge(beyond: FloatArray, width: float) -> FloatArray:
    return np.asarray(1 / (1 + np.exp(np.clip(beyond / width, -50, 50))))
