"""OpenVINO beside ONNX Runtime: the network alone, and images from files as `msde score` embeds them.

    python benchmarks/runtimes.py SET [--backbone NAME] [--rounds N]

SET is a folder of shared/data. The two take turns, so that what else the machine does meets both; a ratio is the median
of those of the rounds. "Difference" is the largest one between the embeddings of the two, relative to the largest
number; "alone" that between an image's embedding alone and in a batch. On a busy machine the clock says little, the
time of processors more.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from table import print_header

from msde.backbones import load_backbone, openvino_runtime
from msde.backbones.session import BATCH
from msde.embedding.embed import embed_images
from msde.embedding.encoder import Encoder, EncoderSession
from msde.images import find_images
from msde.method.parallel import available_cores

SHARED = Path(os.environ.get("MSDE_SHARED", "../shared"))
OWN = "OpenVINO, precision of its own"  # bfloat16 where the processor has it
DEVICES = {"ONNX Runtime": "cpu", "OpenVINO": "openvino", OWN: "openvino"}
IMAGES = 32
FILES = 50


def seconds(run: Callable[[], object]) -> tuple[float, float]:
    """Return seconds by the clock and of processors, all threads together."""
    start, before = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - start, time.process_time() - before


def side_by_side(session: EncoderSession, batches: Sequence[np.ndarray]) -> None:
    """Embed batches as `embed_images` does: each processor one at a time, with a thread of its own."""
    with ThreadPoolExecutor(available_cores()) as pool:
        list(pool.map(lambda batch: session.embed([batch]), batches))


def print_rates(title: str, runs: dict[str, Callable[[], object]], n: int, rounds: int) -> None:
    for run in runs.values():
        run()
    taken = np.array([[seconds(run) for run in runs.values()] for _ in range(rounds)])
    print()
    print_header(title, ("images/s", "ratio", "ms of a processor", "ratio"))
    for name, (clock, processor) in zip(runs, taken.transpose(1, 2, 0), strict=True):
        ratios = [np.median(taken[:, 0, kind] / times) for kind, times in enumerate((clock, processor))]
        rate, cost = n / np.median(clock), 1000 * np.median(processor) / n
        print(f"| {name} | {rate:.1f} | {ratios[0]:.2f} | {cost:.1f} | {ratios[1]:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set")
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--checkpoint")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    encoder = Encoder((load_backbone(arguments.backbone, arguments.checkpoint),))
    (size,) = encoder.input_sizes
    pixels = np.random.default_rng(0).random((IMAGES, 3, size, size), np.float32)
    print(f"{arguments.backbone}, {available_cores()} processors, load average {os.getloadavg()[0]:.1f}\n")

    sessions, found = {}, {}
    print_header("runtime", ("s to start", "difference", "alone"))
    for name, device in DEVICES.items():
        if name == OWN:
            openvino_runtime.SETTINGS.clear()
        start = time.perf_counter()
        sessions[name] = EncoderSession(encoder, 1, device)
        sessions[name].embed([pixels[:1]])
        started = time.perf_counter() - start
        found[name] = sessions[name].embed([pixels[:BATCH]])
        alone = np.concatenate([sessions[name].embed([image[None]]) for image in pixels[:BATCH]])
        largest = np.abs(found[name]).max()
        difference = np.abs(found[name] - found["ONNX Runtime"]).max() / largest
        apart = np.abs(alone - found[name]).max() / largest
        print(
            f"| {name if name == OWN else sessions[name].runtime} | {started:.2f} | {difference:.0e} | {apart:.0e} |",
            flush=True,
        )

    batches = np.array_split(pixels, IMAGES // BATCH)
    print_rates(
        "network alone, default looks",
        {name: lambda session=session: side_by_side(session, batches) for name, session in sessions.items()},
        IMAGES,
        arguments.rounds,
    )
    files = find_images([SHARED / "data" / arguments.set])[:FILES]
    print_rates(
        f"{len(files)} images of {arguments.set}, from files",
        {name: lambda session=session: list(embed_images(session, files)) for name, session in sessions.items()},
        len(files),
        arguments.rounds,
    )


if __name__ == "__main__":
    main()
