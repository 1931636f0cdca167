"""Damage real files in many ways, or cut them short, and read them; run by test_fuzz.py in a process of its own.

Usage: fuzz.py READER COUNT SEED FOLDER, where a COUNT of "cut" cuts each file at 20 places. A file that is neither read
nor refused, or is read though it was cut, is left in FOLDER.
"""

from __future__ import annotations

import random
import re
import signal
import sys
from pathlib import Path

import nibabel
import numpy as np
import pydicom

from msde.errors import ImageError
from msde.images import ImageRule, Part, read_pixels, tiff
from msde.images.files import look_into

LARGEST = 200_000
SECONDS = 20
RULES = [ImageRule(rule) for rule in ("dicom", "full-range", "percentile", "window:0,1000")]


def corpus(reader: str) -> dict[str, bytes]:
    """Collect small real files of one reader."""
    from tests.images.medical import medical_files
    from tests.images.pictures import slide_files, small_files
    from tests.images.syntaxes import coded_files
    from tests.images.tiffs import tiff_files

    if reader == "raster":
        return small_files()
    if reader == "tiff":
        return tiff_files()
    if reader == "syntaxes":
        return coded_files()
    if reader == "slide":
        tiff.SLIDE_SIDE = 100
        tiff.TILE = 64
        return slide_files()
    made = {name: data for name, data in medical_files().items() if (".dcm" in name) == (reader == "dicom")}
    folder = Path(pydicom.__file__).parent / "data/test_files"
    if reader == "nifti":
        folder = Path(nibabel.__file__).parent / "tests/data"
    pattern = "*.dcm" if reader == "dicom" else "*.nii*"
    shipped = [path for path in sorted(folder.glob(pattern)) if path.stat().st_size <= LARGEST]
    return made | {path.name: path.read_bytes() for path in shipped}


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Set, cut, drop, repeat or overwrite some bytes, more of them in the first part, where headers are."""
    for _ in range(rng.randint(1, 6)):
        at = int(len(data) * rng.random() * rng.choice([0.02, 0.15, 1]))
        n = rng.randint(1, 16)
        kind = rng.choice(["set", "set", "bit", "cut", "drop", "twice", "zeros", "ones"])
        if kind == "set":
            data = data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
        elif kind == "bit" and at < len(data):
            data = data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
        elif kind == "cut" and rng.random() < 0.3:
            data = data[:at]
        elif kind == "drop":
            data = data[:at] + data[at + n :]
        elif kind == "twice":
            data = data[: at + 8 * n] + data[at:]
        elif kind in ("zeros", "ones"):
            data = data[:at] + (b"\0" if kind == "zeros" else b"\xff") * n + data[at + n :]
    return data


def read(path: Path) -> str:
    """Read a file's first and last picture, and tell what became of it."""
    name, rule = str(path), RULES[len(path.name) % len(RULES)]
    try:
        contents = look_into(path, name)
        labels = list(contents.parts) if contents else []
        parts: list[Path | Part] = [Part(name, name, label) for label in labels[:1] + labels[-1:]]
        for pixels in (read_pixels(source, rule) for source in parts or [path]):
            assert pixels.dtype == np.float32
            assert pixels.shape[2:] in ((), (3,))
            assert 0 <= pixels.min() <= pixels.max() <= 1, (pixels.min(), pixels.max())
    except ImageError as error:
        said = str(error)
        assert said.startswith(name), said
        assert ";" in said, said
        assert said.isprintable(), said
        return "refused"
    return "read"


def peak_megabytes() -> int:
    """The peak of this process alone: getrusage would count that of the process that started it."""
    return int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) // 1024


def main(reader: str, count: str, seed: int, folder: Path) -> None:
    files = corpus(reader)
    if count == "cut":
        cut_short(files, folder)
    else:
        damage(files, int(count), seed, folder)


def cut_short(files: dict[str, bytes], folder: Path) -> None:
    """Cut each sound file at 20 places, none of which may be read."""
    became = {"read": 0, "refused": 0}
    for name, data in sorted(files.items()):
        path = folder / name
        path.write_bytes(data)
        sound = read(path) == "read"
        path.unlink()
        for number in range(20 * sound):
            path = folder / f"{number}-{name}"
            path.write_bytes(data[: len(data) * number // 20])
            became[read(path)] += 1
            assert not became["read"], f"{path.name} is cut short and read"
            path.unlink()
    print(became["read"], became["refused"], peak_megabytes())


def damage(files: dict[str, bytes], count: int, seed: int, folder: Path) -> None:
    """Damage files at random, each of which has to be read or refused, and soon."""
    became = {"read": 0, "refused": 0}
    for number in range(count):
        rng = random.Random(seed + number)  # noqa: S311
        name = rng.choice(sorted(files))
        path = folder / f"{seed + number}-{name}"
        path.write_bytes(mutated(files[name], rng))
        signal.alarm(SECONDS)
        became[read(path)] += 1
        signal.alarm(0)
        path.unlink()
    print(became["read"], became["refused"], peak_megabytes())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
