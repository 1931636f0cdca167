"""Seconds, seconds of processors and memory of `msde fit` and `msde score`, each run a process of its own.

    python benchmarks/commands.py SET [--rounds 5] [--images 200] [--only fit,score,start,memory,many]

SET is a folder of shared/data. Commands of a table take turns, so that what else the machine does meets all; a ratio is
the median of those of the rounds, to the first row. "many" fits 5,000 images, which are those of SET with noise added,
in three rounds at most, and takes ten minutes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from table import print_header

from msde.images import find_images

SHARED = Path(os.environ.get("MSDE_SHARED", "../shared"))
MSDE = (sys.executable, "-m", "msde")
EMBED = "from sys import argv; from msde import AnomalyModel; print(sum(1 for _ in AnomalyModel().embed(argv[1])))"
# Starts what is measured, because the peak of a process counts from that of the one which started it.
STARTER = """
import os, subprocess, sys, time
start, nowhere = time.perf_counter(), subprocess.DEVNULL
process = subprocess.Popen(sys.argv[1:], stdout=nowhere, stderr=nowhere)
_, status, usage = os.wait4(process.pid, 0)
print(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
sys.exit(bool(status))
"""
MANY, SIDE, LARGE = 5000, 4096, 8
Command = tuple[str | Path, ...]


def measured(command: Command) -> tuple[float, float, float]:
    """Return seconds by the clock, seconds of processors, and MB at the peak."""
    done = subprocess.run([sys.executable, "-S", "-c", STARTER, *command], stdout=subprocess.PIPE, check=False)
    if done.returncode:
        sys.exit(f"the command failed: {' '.join(map(str, command))}")
    seconds, processors, megabytes = map(float, done.stdout.split())
    return seconds, processors, megabytes


def print_turns(title: str, commands: dict[str, Command], rounds: int) -> None:
    taken = np.array([[measured(command) for command in commands.values()] for _ in range(rounds)])
    print(f"\nload average {os.getloadavg()[0]:.1f}, {rounds} rounds\n")
    print_header(title, ("s", "ratio", "s of processors", "ratio", "MB"))
    for name, figures in zip(commands, taken.transpose(1, 0, 2), strict=True):
        clock, processor, megabytes = np.median(figures, axis=0)
        ratios = np.median(figures[:, :2] / taken[:, 0, :2], axis=0)
        print(
            f"| {name} | {clock:.2f} | {ratios[0]:.2f} | {processor:.2f} | {ratios[1]:.2f} | {megabytes:.0f} |",
            flush=True,
        )


def write_noisy(sources: list[Path], folder: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(MANY):
        with Image.open(sources[number % len(sources)]) as image:
            pixels = np.asarray(image.convert("L"), np.float32)
        noisy = np.clip(pixels * rng.uniform(0.9, 1.1) + rng.normal(0, 4, pixels.shape), 0, 255)
        Image.fromarray(noisy.astype(np.uint8)).save(folder / f"{number:05}.png", compress_level=1)


def write_large(folder: Path) -> None:
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
    rng = np.random.default_rng(0)
    for number in range(LARGE):
        picture = 0.5 + 0.4 * np.sin(5 * rows + number) * np.cos(4 * columns) + rng.normal(0, 0.01, rows.shape)
        gray = np.clip(picture * 255, 0, 255).astype(np.uint8)
        colour = np.stack([gray, gray[::-1], 255 - gray], axis=-1)
        Image.fromarray(colour).save(folder / f"{number}.png", compress_level=1)
        Image.fromarray(colour).save(folder / f"{number}.jpg", quality=90)
        Image.fromarray(gray.astype(np.uint16) * 257).save(folder / f"{number}-16.png", compress_level=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--only", default="fit,score,start,memory")
    arguments = parser.parse_args()
    data = SHARED / "data" / arguments.set
    normals, images = data / "train" / "normal", find_images([data / "test"])[: arguments.images]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "m.msde"
        subprocess.run([*MSDE, "fit", normals, "-o", model], check=True, capture_output=True)
        for part in ("noisy", "large"):
            (folder / part).mkdir()

        def fits(of: Path) -> dict[str, Command]:
            fit = (*MSDE, "fit", of, "-o", folder / "n.msde")
            return {
                "embedding alone, a process": (sys.executable, "-c", EMBED, of),
                "msde fit --no-heatmaps": (*fit, "--no-heatmaps"),
                "msde fit": fit,
            }

        def score(*options: str | Path) -> Command:
            return (*MSDE, "score", model, *options, *images)

        scores = {
            "msde score": score(),
            "with heat maps written": score("--heatmaps", folder / "h"),
        }
        starts: dict[str, Command] = {
            "msde score, one image": (*MSDE, "score", model, images[0]),
            "msde --help": (*MSDE, "--help"),
            "python -c pass": (sys.executable, "-c", "pass"),
        }
        large = folder / "large"
        memory: dict[str, Command] = {
            f"{3 * LARGE} images of {SIDE} x {SIDE}": (*MSDE, "score", model, large),
            "the same, heat maps written": (*MSDE, "score", model, "--heatmaps", folder / "l", large),
        }
        parts: dict[str, Callable[[], None]] = {
            "fit": lambda: print_turns(f"{len(find_images([normals]))} normals", fits(normals), arguments.rounds),
            "score": lambda: print_turns(f"{len(images)} images", scores, arguments.rounds),
            "start": lambda: print_turns("cold start", starts, 2 * arguments.rounds),
            "memory": lambda: print_turns("large images", memory, 1),
            "many": lambda: print_turns(f"{MANY} normals", fits(folder / "noisy"), min(arguments.rounds, 3)),
        }
        chosen = arguments.only.split(",")
        if "memory" in chosen:
            write_large(large)
        if "many" in chosen:
            write_noisy(find_images([normals]), folder / "noisy")
        for part in chosen:
            parts[part]()


if __name__ == "__main__":
    main()
