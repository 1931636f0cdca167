"""A small denoising autoencoder as the reconstruction baseline; needs the extra `torch`.

Source: Kascenas, Pugeault, O'Neil, "Denoising autoencoders for unsupervised anomaly detection in brain MRI", MIDL 2022:
coarse noise is added to the normals, and what is not put right again counts as abnormal. Theirs is a U-Net trained for
GPU hours; this one is what a processor can train in seconds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from msde.benchmark.detectors import Lesson, Rows, Score
from msde.errors import DataError

STEPS = 400
BATCH = 16
WIDTHS = (8, 16, 32)
NOISE = 0.2
COARSE = 16  # the noise is drawn this much coarser than the pixels
LEARNING_RATE = 1e-3


def fit_autoencoder(lesson: Lesson) -> Score:
    """Train to take noise out of the normals; an image scores by its mean squared residual."""
    try:
        import torch
    except ImportError as error:
        raise DataError("the autoencoder needs torch; run `pip install 'msde[torch]'` or leave it out") from error
    generator = torch.Generator().manual_seed(lesson.seed)
    normals = _tensor(torch, lesson.normals)
    with torch.random.fork_rng():
        torch.manual_seed(lesson.seed)
        network = _network(torch.nn)
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    side = max(1, normals.shape[-1] // COARSE)
    for _ in range(STEPS):
        batch = normals[torch.randint(len(normals), (min(BATCH, len(normals)),), generator=generator)]
        coarse = torch.randn((len(batch), 1, side, side), generator=generator) * NOISE
        noise = torch.nn.functional.interpolate(coarse, batch.shape[-2:], mode="bilinear")
        loss = torch.nn.functional.mse_loss(network(batch + noise), batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def score(rows: Rows) -> NDArray[np.float64]:
        with torch.no_grad():
            parts = [((network(part) - part) ** 2).mean(dim=(1, 2, 3)) for part in _tensor(torch, rows).split(64)]
        return torch.cat(parts).numpy().astype(np.float64)

    return score


def _tensor(torch: Any, rows: Rows) -> Any:
    return torch.from_numpy(rows.astype(np.float32))[:, None]


def _network(nn: Any) -> Any:
    layers: list[Any] = []
    for before, after in zip((1, *WIDTHS), WIDTHS, strict=False):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(8, after), nn.SiLU()]
    for before, after in zip(WIDTHS[::-1], (*WIDTHS[-2::-1], WIDTHS[0]), strict=True):
        layers += [nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(before, after, 3, padding=1), nn.SiLU()]
    return nn.Sequential(*layers, nn.Conv2d(WIDTHS[0], 1, 3, padding=1))
