"""Images a second of `msde score`, images read and resized, as a share of the bare network's, in one run.

Run: python benchmarks/throughput.py FOLDER_OF_IMAGES [N]
The bare session runs the same graph on batches of the same size which are in memory already. Both alternate, so that a
change of the machine's speed meets both.
"""

from __future__ import annotations

import sys
import time
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from msde.backbones import load_backbone
from msde.backbones.session import BATCH, EmbeddingSession
from msde.embedding.embed import embed_images
from msde.embedding.encoder import Encoder, EncoderSession
from msde.images import find_images

paths = list(islice(cycle(find_images([Path(sys.argv[1])])), int(sys.argv[2]) if len(sys.argv) > 2 else 400))
backbone = load_backbone()
bare_session = EmbeddingSession(backbone)
score_session = EncoderSession(Encoder((backbone,)), threads=1)
pixels = np.random.default_rng(0).random((BATCH, 3, backbone.input_size, backbone.input_size), dtype=np.float32)


def timed(job) -> float:
    start = time.perf_counter()
    job()
    return len(paths) / (time.perf_counter() - start)


def bare(session: EmbeddingSession) -> None:
    for _ in range(0, len(paths), BATCH):
        session.embed(pixels)


rates: dict[str, list[float]] = {"bare session, all threads": [], "end to end": []}
for _ in range(4):
    rates["bare session, all threads"].append(timed(lambda: bare(bare_session)))
    rates["end to end"].append(timed(lambda: list(embed_images(score_session, paths))))
for name, figures in rates.items():
    print(f"{name}: {np.median(figures):.1f} images/s (of {', '.join(f'{figure:.1f}' for figure in figures)})")
shares = np.array(rates["end to end"]) / np.array(rates["bare session, all threads"])
print(f"end to end as a share of the bare session: {np.median(shares):.2f} ({shares.min():.2f} to {shares.max():.2f})")
