"""Nothing that a file says ends a run: every fault of a header or a decoder is a line about its image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from msde.backbones import Backbone
from msde.cli.main import msde
from msde.errors import ImageError
from msde.images import ImageRule, read_pixels
from msde.images.files import guarded
from msde.images.intensity import shown, to_pixels
from msde.images.samples import Samples
from msde.model.anomaly_model import AnomalyModel
from msde.model.file import read_model, write_model

from .medical import dicom_bytes
from .pictures import gray_ramp


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
