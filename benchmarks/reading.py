"""Images a second of processor time of `read_pixels` by format; with another version's source, the ratio in one run.

Run: python benchmarks/reading.py [SOURCE_OF_ANOTHER_VERSION]
The files are of one picture of 1024 x 1024, smooth with noise, as a radiograph is. Versions alternate, each round a
process of its own, so that a change of the machine's speed meets both.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SIDE, SECONDS, ROUNDS = 1024, 0.5, 5
FASTEST = 0.1  # of the times: other work on the machine makes readings slower, never faster


def write(folder: Path) -> None:
    import imagecodecs
    import tifffile
    from PIL import Image
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import (
        ExplicitVRLittleEndian,
        JPEG2000Lossless,
        JPEGBaseline8Bit,
        JPEGLosslessSV1,
        JPEGLSLossless,
        RLELossless,
        generate_uid,
    )

    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
    picture = 0.5 + 0.4 * np.sin(5 * rows) * np.cos(4 * columns) + rng.normal(0, 0.01, (SIDE, SIDE))
    gray = np.clip(picture * 255, 0, 255).astype(np.uint8)
    wide = np.clip(picture * 4095, 0, 4095).astype(np.uint16)
    colour = np.stack([gray, gray[::-1], 255 - gray], axis=-1)
    Image.fromarray(gray).save(folder / "gray.png")
    Image.fromarray(colour).save(folder / "colour.png")
    Image.fromarray(gray).save(folder / "gray.jpg", quality=90)
    Image.fromarray(colour).save(folder / "colour.jpg", quality=90)
    tifffile.imwrite(folder / "lzw.tif", gray, compression="lzw", photometric="minisblack")

    def dicom(name: str, values: np.ndarray, bits: int) -> Dataset:
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.Modality, dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "DX", "MONOCHROME2", 1
        dataset.Rows, dataset.Columns = values.shape
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8 * values.itemsize, bits, bits - 1
        dataset.PixelRepresentation = 0
        dataset.PixelData = values.tobytes()
        dataset["PixelData"].VR = "OW"
        dataset.save_as(folder / name, enforce_file_format=True)
        return dataset

    dicom("native.dcm", wide, 12)
    dataset = dicom("rle.dcm", wide, 12)
    dataset.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    dataset.save_as(folder / "rle.dcm", enforce_file_format=True)
    streams = {
        "jpeg.dcm": (JPEGBaseline8Bit, gray, 8, (folder / "gray.jpg").read_bytes()),
        "jpeg2000.dcm": (JPEG2000Lossless, wide, 12, imagecodecs.jpeg2k_encode(wide, 0, codecformat="j2k")),
        "jpeg-lossless.dcm": (JPEGLosslessSV1, wide, 12, imagecodecs.jpeg8_encode(wide, lossless=True)),
        "jpeg-ls.dcm": (JPEGLSLossless, wide, 12, imagecodecs.jpegls_encode(wide)),
    }
    for name, (syntax, values, bits, stream) in streams.items():
        dataset = dicom(name, values, bits)
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.PixelData = encapsulate([stream])
        dataset["PixelData"].VR = "OB"
        dataset.save_as(folder / name, enforce_file_format=True)


def measure(folder: Path) -> dict[str, float]:
    from msde.images import read_pixels

    rates = {}
    for path in sorted(folder.iterdir()):
        read_pixels(path)
        times: list[float] = []
        while sum(times) < SECONDS:
            start = time.process_time()
            read_pixels(path)
            times.append(time.process_time() - start)
        rates[path.name] = 1 / float(np.quantile(times, FASTEST))
    return rates


def main() -> None:
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(Path(sys.argv[2]))))
        return
    versions = {"this": {}, **({"other": {"PYTHONPATH": sys.argv[1]}} if sys.argv[1:] else {})}
    found: dict[str, list[dict[str, float]]] = {version: [] for version in versions}
    with tempfile.TemporaryDirectory() as name:
        write(Path(name))
        for _ in range(ROUNDS):
            for version, environment in versions.items():
                command = [sys.executable, __file__, "--measure", name]
                settings = {**os.environ, **environment}
                done = subprocess.run(command, capture_output=True, text=True, check=True, env=settings)
                found[version].append(json.loads(done.stdout))
    for name in found["this"][0]:
        rates = np.array([rounds[name] for rounds in found["this"]])
        line = f"{name:14} {np.median(rates):7.1f} images/s ({rates.min():.1f} to {rates.max():.1f})"
        if "other" in found:
            ratios = rates / [rounds[name] for rounds in found["other"]]
            line += f", {np.median(ratios):.2f} of the other's ({ratios.min():.2f} to {ratios.max():.2f})"
        print(line)


if __name__ == "__main__":
    main()
