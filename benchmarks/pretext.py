"""AUROC of the default detector on a pretext encoder and on its own start, as a Markdown table.

Run: python benchmarks/pretext.py FOLDER [--sets NAME ...] [OPTION OF msde pretrain ...]

Each set of shared/data is trained on with one and the same setting by `msde pretrain`, whose encoders and checkpoints
are kept in the folder: a run that is stopped goes on. "CPU minutes" are those of the training's process, all threads
together; "quality" is what the choice of the weights rests on. With --random the start is the encoder of step 0.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
from embeddings import PARTS, shared_sets

from msde import AnomalyModel, MSDEDetector
from msde.backbones import Backbone, load_backbone
from msde.method.metrics import auroc

MSDE = Path(sys.executable).with_name("msde")


def detected(folder: Path, backbone: Backbone) -> float:
    """Return the AUROC of the default detector, each image alone."""
    model = AnomalyModel(backbone)
    train, normal, abnormal = (np.stack([image.embedding for image in model.embed(folder / part)]) for part in PARTS)
    detector = MSDEDetector().fit(train)
    return auroc(detector.anomaly_score(normal), detector.anomaly_score(abnormal))


def trained(folder: Path, encoder: Path, options: list[str]) -> None:
    """Train an encoder, unless there is one, and note the minutes it took beside it."""
    notes = encoder.with_suffix(".json")
    if encoder.exists():
        return
    before = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    subprocess.run([MSDE, "pretrain", folder / "train/normal", "-o", encoder, *options], check=True)
    minutes = (sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - before) / 60
    notes.write_text(json.dumps({"minutes": minutes}))


def story(encoder: Path) -> dict:
    """Return what the encoder's file says of its training."""
    from safetensors import safe_open

    with safe_open(encoder, framework="numpy") as file:
        return json.loads(file.metadata()["msde_pretrain"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="*")
    arguments, options = parser.parse_known_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print("| set | start | encoder | gain | kept step | quality, start -> kept | CPU minutes |")
    print("|---" * 7 + "|")
    rows = []
    for folder, _ in shared_sets():
        if arguments.sets and folder.name not in arguments.sets:
            continue
        encoder = arguments.folder / f"{folder.name}.safetensors"
        trained(folder, encoder, options)
        if "--random" in options:
            first = arguments.folder / f"{folder.name}-start.safetensors"
            trained(folder, first, [*options, "--steps", "1", "--rate", "1e-30"])
            start = load_backbone(f"file:{first}")
        else:
            start = load_backbone()
        told, rows = (
            story(encoder),
            [*rows, (detected(folder, start), detected(folder, load_backbone(f"file:{encoder}")))],
        )
        minutes = json.loads(encoder.with_suffix(".json").read_text())["minutes"]
        before, after = rows[-1]
        quality = told["quality"]
        print(
            f"| {folder.name} | {before:.3f} | {after:.3f} | {after - before:+.3f} | {told['steps']} "
            f"| {quality['0']:.3f} -> {quality[str(told['steps'])]:.3f} | {minutes:.1f} |",
            flush=True,
        )
    before, after = np.mean(rows, axis=0)
    print(f"| **mean** | {before:.3f} | {after:.3f} | {after - before:+.3f} | | | |")


if __name__ == "__main__":
    main()
