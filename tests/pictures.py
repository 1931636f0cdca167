"""Synthetic images for tests: small noisy discs, the same with a bright square, and the demo's brains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from msde.demo.patient import Patient
from msde.demo.template import load_template

SIDE = 64


def disc(rng: np.random.Generator, *, lesion: bool = False, side: int = SIDE) -> np.ndarray:
    """Draw one image, uint8 (side, side)."""
    y, x = np.mgrid[:side, :side]
    radius = side * rng.uniform(0.32, 0.4)
    centre = side / 2 + rng.uniform(-2, 2, size=2)
    image = np.where((y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2, 120.0, 20.0)
    if lesion:
        image[side // 3 : side // 2, side // 3 : side // 2] = 250
    return np.clip(image + rng.normal(0, 6, size=image.shape), 0, 255).astype(np.uint8)


def write_discs(folder: Path, n: int, seed: int = 0, *, lesion: bool = False) -> Path:
    """Write n images as PNG files into a new folder."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for number in range(n):
        Image.fromarray(disc(rng, lesion=lesion)).save(folder / f"{number:03}.png")
    return folder


def brains(n: int, seed: int = 0) -> list[np.ndarray]:
    """Give n healthy slices as the demo's data set has them, each of a simulated patient, uint8 (224, 224)."""
    template, rng = load_template(), np.random.default_rng(seed)
    patients = [Patient.draw(rng) for _ in range(n)]
    return [patient.scan(patient.anatomy(template)) for patient in patients]
