"""Nothing that a file says ends a run: every fault of a header or a decoder is a line about its image."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian

from msde.backbones import Backbone
from msde.cli.main import msde
from msde.errors import ImageError
from msde.images import ImageRule, find_images, read_pixels
from msde.images.files import check_whole, guarded, look_into
from msde.images.intensity import shown, to_pixels
from msde.images.samples import Samples
from msde.model.anomaly_model import AnomalyModel
from msde.model.file import read_model, write_model

from .medical import dicom_bytes, nifti_bytes
from .overstated import overstated
from .pictures import gray_ramp
from .syntaxes import RLE, encapsulated, stream
from .tiffs import huge_tile


def broken_tables() -> dict[str, dict[str, Any]]:
    """Give elements of headers that state a table and lack or misstate a part of it."""
    whole: dict[str, tuple[str, Any]] = {"LUTDescriptor": ("US", [4, 0, 8]), "LUTData": ("US", [0, 1, 2, 3])}
    parts: dict[str, dict[str, tuple[str, Any] | None]] = {
        "no data": {"LUTData": None},
        "no descriptor": {"LUTDescriptor": None},
        "short descriptor": {"LUTDescriptor": ("US", [4, 0])},
        "no entries": {"LUTData": ("US", [])},
        "text": {"LUTData": ("LO", "four")},
    }
    found = {}
    for sequence in ("VOILUTSequence", "ModalityLUTSequence"):
        for what, changed in parts.items():
            item = Dataset()
            for keyword, value in {**whole, **changed}.items():
                if value is not None:
                    item.add_new(keyword, *value)
            found[f"{sequence}, {what}"] = {sequence: Sequence([item])}
    return found


@pytest.mark.parametrize("kind", broken_tables())
def test_a_broken_table_is_a_line_about_its_image(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "scan.dcm"
    path.write_bytes(dicom_bytes(gray_ramp(), **broken_tables()[kind]))
    with pytest.raises(ImageError, match=r"scan\.dcm: damaged or truncated DICOM image \(.+\); copy or export it"):
        read_pixels(path)
    if kind.startswith("VOI"):  # which another rule does not need
        np.testing.assert_array_equal(read_pixels(path, ImageRule("full-range")), read_pixels(gray_ramp()))


def test_a_display_that_fails_is_a_line_wherever_it_is_asked_for() -> None:
    def fails(_: object) -> Any:
        raise AttributeError("Mustermann^Erika")

    samples = Samples(gray_ramp(), 0.0, 255.0, fails)
    for ask in (to_pixels, shown):
        with pytest.raises(ImageError, match=r"^scan: damaged or truncated .*\(AttributeError\); copy"):
            ask(samples, ImageRule(), "scan")


def test_the_guard_passes_what_is_no_fault_of_the_image() -> None:
    for error in (MemoryError, KeyboardInterrupt):
        with pytest.raises(error), guarded("scan", "PNG"):
            raise error
    with pytest.raises(ImageError, match=r"^scan: cannot be opened \(gone\)"), guarded("scan", "PNG"):
        raise OSError(5, "gone")


@pytest.fixture(scope="module")
def folder(network: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder of sound images with one among them whose header is broken, and a model of the sound ones."""
    folder, rng = tmp_path_factory.mktemp("guard"), np.random.default_rng(0)
    (folder / "images").mkdir()
    for k in range(12):
        values = gray_ramp() // 2 + rng.integers(0, 100, (24, 20), dtype=np.uint8)
        Image.fromarray(values).save(folder / f"images/{'az'[k % 2]}{k:02}.png")
    Image.fromarray(gray_ramp()[::-1]).save(folder / "abnormal.png")
    AnomalyModel(network).fit(sorted((folder / "images").iterdir())).save(folder / "m.msde")
    broken = dicom_bytes(gray_ramp(), **broken_tables()["VOILUTSequence, no data"])
    (folder / "images/m_bad.dcm").write_bytes(broken)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "score {0}/m.msde {0}/images",
        "fit {0}/images -o {0}/again.msde --no-heatmaps",
        "report {0}/m.msde {0}/images -o {0}/report.html",
        "evaluate {0}/m.msde --normal {0}/images --abnormal {0}/abnormal.png",
    ],
    ids=lambda command: command.split()[0],
)
def test_a_run_goes_on_past_a_broken_header(folder: Path, command: str) -> None:
    done = CliRunner().invoke(msde, command.format(folder).split())
    assert done.exit_code == 3, done.output
    assert "m_bad.dcm: damaged or truncated DICOM image" in done.output
    if command.startswith("score"):
        assert done.stdout.count("\n") == 1 + 13


def test_scoring_tells_of_a_model_of_older_rules(folder: Path) -> None:
    fitted, _ = read_model(folder / "m.msde")
    write_model(replace(fitted, rule=replace(fitted.rule, version=1)), folder / "older.msde")
    for name, said in (("m", False), ("older", True)):
        done = CliRunner().invoke(msde, f"score {folder}/{name}.msde {folder}/abnormal.png".split())
        assert done.exit_code == 0
        assert ("fitted when some kinds of files were read in another way" in done.stderr) == said


@pytest.mark.slow
@pytest.mark.parametrize("name", overstated())
def test_more_pictures_than_a_file_can_hold_are_refused_before_any_is_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(overstated()[name])
    with pytest.raises(ImageError, match=f"{name}: "):
        look_into(path, name)
    assert find_images([path]) == [path], "one line of an error, and no volume of so many"
    with pytest.raises(ImageError, match=f"{name}: "):
        read_pixels(path)


def test_a_volume_of_many_small_slices_is_read(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "many.nii.gz"
    path.write_bytes(nifti_bytes(rng.integers(0, 255, (12, 16, 400), np.uint8), packed=True))
    assert len(find_images([path])) == 400


@pytest.mark.parametrize("name", ["native", "deflated", "rle"])
def test_a_dicom_picture_is_whole_or_not_without_decoding_it(tmp_path: Path, name: str) -> None:
    content = {
        "native": dicom_bytes(gray_ramp()),
        "deflated": dicom_bytes(gray_ramp(), DeflatedExplicitVRLittleEndian),
        "rle": encapsulated([stream(RLE, gray_ramp(40, 32))], RLE, gray_ramp(40, 32)),
    }[name]
    path = tmp_path / "image.dcm"
    path.write_bytes(content)
    check_whole(path, "image.dcm")
    for cut in (2, len(content) // 3):
        path.write_bytes(content[:-cut])
        with pytest.raises(ImageError, match=r"image\.dcm: damaged or truncated DICOM"):
            check_whole(path, "image.dcm")


def test_a_tile_as_large_as_no_picture_does_not_end_the_process(tmp_path: Path) -> None:
    """OpenSlide ends its process where it gets no memory, so it must not be asked to make room for such a tile."""
    path = tmp_path / "tile.tif"
    path.write_bytes(huge_tile())
    code = (
        "import resource, sys; from msde.images.files import *; from msde.errors import ImageError\n"
        "resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))\n"
        "for act in (look_into, decode_file):\n"
        "    try: act(sys.argv[1], 'tile.tif')\n"
        "    except ImageError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line.startswith("tile.tif: ") for line in done.stdout.splitlines()] == [True, True]
