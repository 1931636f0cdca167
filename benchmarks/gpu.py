"""Print whether a GPU computes what the processor does, and what it gains: for anyone who has one.

pip uninstall onnxruntime; pip install onnxruntime-gpu
python benchmarks/gpu.py [--backbone NAME] [--checkpoint PATH] [--input-size PX] [--images N]

Without a usable GPU it prints why and ends with 0. Parity is the largest difference of an embedding from the
processor's, relative to the largest number; memory is what the process has taken at most, and what nvidia-smi says that
it holds on the GPU.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator

import numpy as np

from msde.backbones import load_backbone
from msde.backbones.session import EmbeddingSession
from msde.errors import BackboneError

BATCH, WARM_UP = 8, 2  # passes
TOLERANCE = 1e-3  # more than that is more than rounding


def batches(size: int, n: int) -> Iterator[np.ndarray]:
    """Give n images of noise in batches."""
    rng = np.random.default_rng(0)
    for start in range(0, n, BATCH):
        yield rng.random((min(BATCH, n - start), 3, size, size), np.float32)


def embedded(session: EmbeddingSession, images: list[np.ndarray]) -> tuple[np.ndarray, float]:
    """Return embeddings and images a second, the first passes not counted."""
    for _ in range(WARM_UP):
        session.embed(images[0])
    start = time.perf_counter()
    rows = [session.embed(batch) for batch in images]
    return np.concatenate(rows), sum(map(len, images)) / (time.perf_counter() - start)


def memory_on_gpu() -> str:
    """Return what nvidia-smi says that this process holds, in MB."""
    if shutil.which("nvidia-smi") is None:
        return "unknown: no nvidia-smi"
    asked = ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
    lines = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.splitlines()
    held = [line.partition(",")[2].strip() for line in lines if line.partition(",")[0].strip() == str(os.getpid())]
    return f"{held[0]} MB" if held else "unknown: nvidia-smi does not list this process"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--checkpoint")
    parser.add_argument("--input-size", type=int)
    parser.add_argument("--images", type=int, default=64)
    options = parser.parse_args()
    backbone = load_backbone(options.backbone, options.checkpoint, options.input_size)
    try:
        gpu = EmbeddingSession(backbone, device="cuda")
    except BackboneError as error:
        print(f"no GPU: {error}")
        return
    images = list(batches(backbone.input_size, options.images))
    expected, slow = embedded(EmbeddingSession(backbone), images)
    found, fast = embedded(gpu, images)
    alone = np.concatenate([gpu.embed(row[None]) for row in images[0]])
    scale = np.abs(expected).max()
    parity, batch = np.abs(found - expected).max() / scale, np.abs(alone - found[: len(alone)]).max() / scale
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{backbone.name}, {backbone.input_size} px, {options.images} images")
    print(f"| device | images/s |\n|---|---|\n| processor | {slow:.1f} |\n| GPU | {fast:.1f} |")
    print(f"largest difference from the processor {parity:.1e} ({'within' if parity <= TOLERANCE else 'ABOVE'} 1e-3)")
    print(f"largest difference of an image alone from one in a batch {batch:.1e}")
    print(f"memory: {peak:.0f} MB at most, on the GPU {memory_on_gpu()}")


if __name__ == "__main__":
    main()
