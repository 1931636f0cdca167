"""Images a second from files to embeddings, as a share of two passes of the bare network, in one run.

    python benchmarks/throughput.py SET [--images 200] [--rounds 5]

SET is a folder of shared/data, whose images are written anew as PNG, JPEG and DICOM. An image takes two passes by the
default looks. The bare session is ONNX Runtime with the same graph, weights and options, on batches that are in memory
already; of its ways to take both processors the faster counts: one call on all of them, or a call on each. All take
turns, so that a change of the machine's speed meets all. With heat, maps are made of what the passes saw. Shares are
told by the clock and by the time of processors, which says more on a busy machine.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from table import print_header

from msde import AnomalyModel
from msde.backbones.session import BATCH, EmbeddingSession
from msde.images import find_images
from msde.method.parallel import available_cores

SHARED = Path(os.environ.get("MSDE_SHARED", "../shared"))
BARE, HEAT = "two passes of the bare session", "JPEG, with heat"


def write_dicom(gray: np.ndarray, path: Path) -> None:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.Modality, dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "DX", "MONOCHROME2", 1
    dataset.Rows, dataset.Columns = gray.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.PixelData = gray.tobytes() + b"\0" * (gray.size % 2)
    dataset["PixelData"].VR = "OW"
    dataset.save_as(path, enforce_file_format=True)


def write_formats(sources: list[Path], folder: Path) -> dict[str, list[Path]]:
    for number, source in enumerate(sources):
        with Image.open(source) as image:
            gray = image.convert("L")
        gray.save(folder / f"{number:04}.png")
        gray.save(folder / f"{number:04}.jpg", quality=90)
        write_dicom(np.asarray(gray), folder / f"{number:04}.dcm")
    return {name: sorted(folder.glob(f"*.{name}")) for name in ("png", "jpg", "dcm")}


def seconds(job: Callable[[], object]) -> tuple[float, float]:
    start, before = time.perf_counter(), time.process_time()
    job()
    return time.perf_counter() - start, time.process_time() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    data = SHARED / "data" / arguments.set
    model = AnomalyModel().fit(data / "train" / "normal")
    backbone = model.encoder.backbones[0]
    alone, shared = EmbeddingSession(backbone, 1), EmbeddingSession(backbone)
    n = arguments.images
    pixels = np.random.default_rng(0).random((BATCH, 3, backbone.input_size, backbone.input_size), dtype=np.float32)
    passes = 2 * -(-n // BATCH)

    def a_call_each() -> None:
        with ThreadPoolExecutor(available_cores()) as pool:
            list(pool.map(lambda _: alone.embed(pixels), range(passes)))

    def one_call() -> None:
        for _ in range(passes):
            shared.embed(pixels)

    with tempfile.TemporaryDirectory() as name:
        sources = list(islice(cycle(find_images([data / "test"])), n))
        formats = write_formats(sources, Path(name))
        jobs: dict[str, Callable[[], object]] = {
            f"{BARE}, a call on each processor": a_call_each,
            f"{BARE}, one call": one_call,
        }
        jobs |= {kind: lambda paths=paths: list(model.embed(paths)) for kind, paths in formats.items()}
        jobs[HEAT] = lambda: list(model.embed(formats["jpg"], model.fitted.heat_maps()))
        for job in jobs.values():
            job()
        taken = np.array([[seconds(job) for job in jobs.values()] for _ in range(arguments.rounds)])
    bare = taken[:, :2].min(axis=1)
    print(f"{n} images of {arguments.set}, {available_cores()} processors, load average {os.getloadavg()[0]:.1f}\n")
    print_header("", ("images/s", "share of the bare session", "ms of a processor", "share"))
    for job, figures in zip(jobs, taken.transpose(1, 0, 2), strict=True):
        clock, processor = np.median(figures, axis=0)
        shares = np.median(bare / figures, axis=0)
        print(
            f"| {job} | {n / clock:.1f} | {shares[0]:.2f} | {1000 * processor / n:.1f} | {shares[1]:.2f} |", flush=True
        )


if __name__ == "__main__":
    main()
