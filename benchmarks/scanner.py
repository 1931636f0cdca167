"""Adaptive mode where test images come from another scanner, simulated: gain over inductive, and false alarms.

Run: python benchmarks/scanner.py [--draws 3]     (some minutes: the images are embedded again)

Of three sets the test images are changed as a whole, brightness and contrast or sharpness; the model is fitted to the
training normals as they are. Pools and scored images are changed alike, and drawn as in benchmarks/prevalence.py.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from embeddings import patients as patients_of
from embeddings import shared_sets
from PIL import Image, ImageFilter
from pools import SHARES, Case

from msde import MSDEDetector
from msde.backbones import load_backbone
from msde.benchmark.draws import Subset
from msde.embedding.embed import embed_images
from msde.embedding.encoder import DEFAULT_LOOKS, Encoder, EncoderSession
from msde.images import find_images
from msde.method.metrics import auroc

SETS = ("busi_ultrasound", "ct_ich_phe", "fundus_idrid_dr")
CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "0.7 x + 0.2": lambda picture: picture.point(lambda value: round(0.7 * value + 51)),
    "blurred by 1 pixel": lambda picture: picture.filter(ImageFilter.GaussianBlur(1)),
}

KINDS = ("AUROC, inductive", "adaptive minus that", "false alarms at .05, inductive", "the same, adaptive")


def changed(paths: list, change: Callable[[Image.Image], Image.Image]) -> list[np.ndarray]:
    """Read pictures and change them."""
    pictures = []
    for path in paths:
        with Image.open(path) as picture:
            mode = "L" if picture.mode in ("L", "1", "I;16") else "RGB"
            pictures.append(np.asarray(change(picture.convert(mode))))
    return pictures


def embedded(session: EncoderSession, sources: list, patients: np.ndarray) -> Subset:
    return Subset(np.stack([image.embedding for image in embed_images(session, sources)]), patients)


def measure(train: Subset, case: Case, draws: int) -> np.ndarray:
    """Return AUROC of inductive mode, the gain over it, and both modes' false-alarm rates, (4, share)."""
    groups = np.unique(train.patients, return_inverse=True)[1]
    inductive = MSDEDetector().fit(train.rows, groups=groups)
    figures = np.empty((4, len(SHARES), draws))
    for column, share in enumerate(SHARES):
        for draw, (pool, scored) in enumerate(case.draws(share, draws)):
            both = inductive, MSDEDetector("adaptive").fit(train.rows, unlabelled=pool, groups=groups)
            areas = [auroc(*map(detector.anomaly_score, scored)) for detector in both]
            rates = [np.mean(detector.predict(scored[0]) < 0) for detector in both]
            figures[:, column, draw] = [areas[0], areas[1] - areas[0], *rates]
    return figures.mean(axis=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=3)
    draws = parser.parse_args().draws
    session = EncoderSession(Encoder((load_backbone(),), DEFAULT_LOOKS), threads=1)
    columns = [f"{share:.0%}" for share in SHARES]
    print(f"| set | change | figure | {' | '.join(columns)} |\n{'|---' * (3 + len(columns))}|")
    for folder, plan in shared_sets():
        if folder.name not in SETS:
            continue
        paths = {part: find_images([folder / part]) for part in ("train/normal", "test/normal", "test/abnormal")}
        who = {part: patients_of(plan, map(str, of_part)) for part, of_part in paths.items()}
        train = embedded(session, paths["train/normal"], who["train/normal"])
        for name, change in CHANGES.items():
            tested = [embedded(session, changed(paths[part], change), who[part]) for part in list(paths)[1:]]
            table = measure(train, Case("scanner", folder.name, folder.name, train, tested, tested), draws)
            for kind, cells in zip(KINDS, table, strict=True):
                print(f"| {folder.name} | {name} | {kind} | {' | '.join(f'{x:.3f}' for x in cells)} |", flush=True)


main()
