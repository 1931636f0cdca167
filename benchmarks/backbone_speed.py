"""Print images a second of the bare ONNX Runtime session, and of torch beside it where it is installed.

python benchmarks/backbone_speed.py [--backbone NAME] [--checkpoint FILE] [--threads N]
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from msde.backbones import load_backbone
from msde.backbones.session import EmbeddingSession, available_cores

SIZES = (1, 8, 16, 32)
IMAGES, ROUNDS = 32, 5


def images_per_second(run: Callable[[np.ndarray], object], images: np.ndarray, size: int) -> float:
    """Return the best of a few rounds over the same images in batches of one size."""
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for i in range(0, len(images), size):
            run(images[i : i + size])
        seconds.append(time.perf_counter() - start)
    return len(images) / min(seconds)


def side_by_side(session: EmbeddingSession, images: np.ndarray, size: int, workers: int) -> float:
    """Return images a second when each of several threads works on a batch of its own."""
    batches = [images[i : i + size] for i in range(0, len(images), size)]
    with ThreadPoolExecutor(workers) as pool:
        return images_per_second(lambda _: list(pool.map(session.embed, batches)), images, len(images))


def torch_model(threads: int) -> Callable[[np.ndarray], object]:
    """Return the same network in torch: every layer up to the last feature map."""
    import timm
    import torch

    torch.set_num_threads(threads)
    network: Any = timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=(1, 2, 3, 4)).eval()

    def run(batch: np.ndarray) -> object:
        with torch.inference_mode():
            return [values.mean((2, 3)) for values in network(torch.from_numpy(batch))]

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--checkpoint")
    parser.add_argument("--threads", type=int, default=available_cores())
    options = parser.parse_args()

    start = time.perf_counter()
    backbone = load_backbone(options.backbone, options.checkpoint)
    loaded = time.perf_counter()
    session = EmbeddingSession(backbone, options.threads)
    created = time.perf_counter()
    images = np.random.default_rng(0).random((IMAGES, 3, backbone.input_size, backbone.input_size), np.float32)
    session.embed(images[:1])
    first = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{backbone.name}: {options.threads} threads, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}")
    print(f"load {loaded - start:.3f} s, session {created - loaded:.3f} s, first image {first - created:.3f} s")
    print(f"peak memory with one image embedded {peak:.0f} MB")

    single = EmbeddingSession(backbone, 1)
    rows: dict[str, Callable[[int], float]] = {
        "ONNX Runtime": lambda size: images_per_second(session.embed, images, size),
        "ONNX Runtime, 1 thread": lambda size: images_per_second(single.embed, images, size),
        f"{options.threads} workers, shared session": lambda size: side_by_side(session, images, size, options.threads),
        f"{options.threads} workers, 1 thread each": lambda size: side_by_side(single, images, size, options.threads),
    }
    if options.backbone == "efficientnet_lite0" and importlib.util.find_spec("timm"):
        network = torch_model(options.threads)
        rows["torch"] = lambda size: images_per_second(network, images, size)
    print(f"{'images/s at batch size':30s}" + "".join(f"{size:8d}" for size in SIZES))
    for name, speed in rows.items():
        print(f"{name:30s}" + "".join(f"{speed(size):8.1f}" for size in SIZES))


if __name__ == "__main__":
    main()
