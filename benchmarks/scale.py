"""What 10^6, 10^8 and 10^10 images take on a cluster: measure the stages here, then simulate nodes.

Run: python benchmarks/scale.py measure FOLDER_OF_IMAGES
     python benchmarks/scale.py simulate [--decode 4 --backbone 45 ...]

measure: one core's milliseconds an image for reading and decoding, for bringing it to the network's size, and for the
network; milliseconds for writing a part.
simulate: the parts of a job on the nodes of a cluster, event by event: parts of random length (log-normal, 20 %), nodes
that fail now and then and come back, one node in fifty at a third of the speed, a driver that hands out parts one by
one, a store with a limited rate, all workers of a node behind its network. More than 200,000 parts are simulated as
200,000 larger ones, while the driver's time stays that of all of them. Prices and GPU speed are assumptions, printed.
"""

from __future__ import annotations

import argparse
import heapq
import sys
import time
from dataclasses import dataclass, fields, replace
from itertools import islice
from pathlib import Path

import numpy as np

MOST_EVENTS = 200_000


@dataclass(frozen=True)
class Figures:
    """Measured by `measure` and benchmarks/cluster.py, but for those marked as assumed.

    Milliseconds are those of one core.
    """

    decode: float = 4.5  # ms an image: read, decode, resize
    backbone: float = 31.5  # ms an image
    kilobytes: float = 12.5  # an image
    handing_out: float = 15.0  # ms of the driver a part: processor time of `cluster.py memory`, start left out
    writing: float = 10.0  # ms a part
    starting: float = 30.0  # s until a cluster is up and the networks are loaded
    gpu: float = 1500.0  # images a second of one GPU: assumed, none was at hand
    latency: float = 30.0  # ms to the first byte of an object: assumed
    store: float = 50.0  # Gbit/s that the object store gives all nodes together: assumed
    failures: float = 0.001  # of a node an hour: assumed
    cpu_price: float = 0.68  # a CPU node an hour, USD: assumed
    gpu_price: float = 1.20  # a GPU node an hour, USD: assumed
    request_price: float = 0.4  # a million reads, USD: assumed


@dataclass(frozen=True)
class Nodes:
    """A kind of node."""

    name: str
    cores: int
    gbit: float
    gpu: bool


CPU, GPU = Nodes("CPU, 16 cores", 16, 10.0, False), Nodes("GPU, 16 cores", 16, 10.0, True)
FETCHES = 8  # of each worker at once, as in msde.cluster.prefetch


def stages(figures: Figures, node: Nodes, nodes: int) -> dict[str, float]:
    """Images a second that each stage lets through the whole cluster."""
    bits = figures.kilobytes * 8e3
    reading = min(nodes * node.gbit * 1e9, figures.store * 1e9) / bits
    waiting = nodes * node.cores * FETCHES * 1e3 / figures.latency
    # A core decodes, and runs the network where there is no GPU; the longer of them has the name.
    works = {"decoding": figures.decode}
    if not node.gpu:
        works["backbone"] = figures.backbone
    rates = {
        "reading": reading,
        "requests": waiting,
        max(works, key=works.__getitem__): nodes * node.cores * 1e3 / sum(works.values()),
    }
    if node.gpu:
        rates["backbone"] = nodes * figures.gpu
    return rates


def simulate(
    figures: Figures, node: Nodes, nodes: int, images: float, part_rows: int, seed: int = 0
) -> dict[str, object]:
    """Do a job; return hours, price and what held it up."""
    rng = np.random.default_rng(seed)
    rates = stages(figures, node, nodes)
    parts = int(np.ceil(images / part_rows))
    events = min(parts, MOST_EVENTS)
    lumped = parts / events
    alone = min(rates.values()) / nodes
    seconds = lumped * (part_rows / alone + figures.writing / 1e3 / node.cores)
    speed = np.where(np.arange(nodes) % 50 == 49, 1 / 3, 1.0)
    free = [(figures.starting, worker) for worker in range(nodes)]
    heapq.heapify(free)
    driver, end, redone = 0.0, 0.0, 0
    for length in np.exp(rng.normal(-0.02, 0.2, events)) * seconds:
        start, worker = heapq.heappop(free)
        driver = max(driver, start) + lumped * figures.handing_out / 1e3
        took = length / speed[worker]
        if rng.random() < -np.expm1(-figures.failures * took / 3600):
            # What a worker has done of a part is lost, once a part of those that stand for it.
            took += min(took, took / lumped) + figures.starting
            redone += 1
        end = max(end, driver + took)
        heapq.heappush(free, (driver + took, worker))
    handing = 1e3 / figures.handing_out * part_rows
    first = min({**rates, "driver": handing}.items(), key=lambda item: item[1])[0]
    hours = end / 3600
    price = hours * nodes * (figures.gpu_price if node.gpu else figures.cpu_price)
    return {
        "hours": hours,
        "price": price + images / 1e6 * figures.request_price,
        "first": first,
        "redone": redone,
        "use": images / min(rates.values()) / end,
    }


def measure(folder: Path) -> None:
    from msde.backbones import load_backbone
    from msde.cluster.arrow import scores_table, to_parquet
    from msde.embedding.encoder import Encoder, EncoderSession
    from msde.images import find_images, read_pixels, to_input
    from msde.model.score import ImageScore

    paths = list(islice(find_images([folder]), 200))
    session = EncoderSession(Encoder((load_backbone(),)), threads=1)
    size = session.encoder.input_sizes[0]
    start = time.process_time()
    pixels = [read_pixels(path) for path in paths]
    decoded = time.process_time()
    inputs = np.stack([to_input(one, size) for one in pixels])
    resized = time.process_time()
    for first in range(0, len(inputs), 8):
        session.embed([inputs[first : first + 8]])
    embedded = time.process_time()
    for name, seconds in (("decode", decoded - start), ("resize", resized - decoded), ("backbone", embedded - resized)):
        print(f"{name}: {1e3 * seconds / len(paths):.2f} ms an image")
    print(f"size: {np.mean([path.stat().st_size for path in paths]) / 1e3:.1f} kB an image")
    table = [ImageScore(str(path), 1.0, 0.5, False, None) for path in paths] * 5
    to_parquet(scores_table(table), {})  # imports what is imported at first use
    start = time.process_time()
    to_parquet(scores_table(table), {})
    print(f"writing: {1e3 * (time.process_time() - start):.1f} ms a part of {len(table)} rows")


def table(figures: Figures) -> None:
    print(", ".join(f"{field.name} {getattr(figures, field.name):g}" for field in fields(figures)))
    print("\n| images | nodes | kind | part | hours | USD | first bottleneck | nodes in use | parts redone |")
    print("|---:|---:|---|---:|---:|---:|---|---:|---:|")
    for images, counts, part_rows in ((1e6, (1, 4), 1000), (1e8, (10, 100), 1000), (1e10, (100, 1000), 10_000)):
        for node in (CPU, GPU):
            for nodes in counts:
                took = simulate(figures, node, nodes, images, part_rows)
                print(
                    f"| 10^{round(np.log10(images))} | {nodes} | {node.name} | {part_rows} | {took['hours']:.2f} |"
                    f" {took['price']:,.0f} | {took['first']} | {took['use']:.0%} | {took['redone']} |"
                )
    print("\nWhat each stage lets through, images a second:\n")
    for node in (CPU, GPU):
        for nodes in (1, 100, 1000):
            rates = ", ".join(f"{name} {rate:,.0f}" for name, rate in stages(figures, node, nodes).items())
            print(f"- {nodes} nodes, {node.name}: {rates}; driver at 1,000 a part {1e6 / figures.handing_out:,.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["measure", "simulate"])
    parser.add_argument("folder", type=Path, nargs="?")
    for field in fields(Figures):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=float)
    given = vars(parser.parse_args())
    if given["what"] == "measure":
        if given["folder"] is None:
            sys.exit("give a folder of images")
        measure(given["folder"])
        return
    known = {name: value for name, value in given.items() if name in Figures.__dataclass_fields__ and value is not None}
    table(replace(Figures(), **known))


main()
