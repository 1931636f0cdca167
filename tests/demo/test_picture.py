from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from msde.demo import DemoCase, draw_cases
from msde.errors import DataError, ImageError


@pytest.fixture
def cases(tmp_path: Path) -> list[DemoCase]:
    """Give twenty cases whose pictures are plain grays, brighter with the score."""
    made = []
    for i in range(20):
        path = tmp_path / f"case-{i:02d}.png"
        Image.new("L", (32, 32), 12 * i + 5).save(path)
        made.append(DemoCase(path, score=float(i), p_value=1 - i / 21, truth=i > 12))
    return made


def grays_shown(path: Path, third: int) -> set[int]:
    """Give the case numbers whose gray fills part of one third of the figure's height."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    rows = np.array_split(pixels, 3)[third].reshape(-1, 3)
    neutral = rows[(rows == rows[:, :1]).all(axis=1)][:, 0]
    return {i for i in range(20) if (abs(neutral.astype(int) - 12 * i - 5) <= 1).sum() > 5000}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_shows_the_highest_and_the_lowest_scores(cases: list[DemoCase], tmp_path: Path, seed: int) -> None:
    rows = [cases[i] for i in np.random.default_rng(seed).permutation(20)]
    draw_cases(rows, tmp_path / "cases.png")
    assert grays_shown(tmp_path / "cases.png", 0) == {14, 15, 16, 17, 18, 19}
    assert grays_shown(tmp_path / "cases.png", 1) == {0, 1, 2, 3, 4, 5}


@pytest.mark.slow
def test_the_order_of_the_rows_does_not_matter(cases: list[DemoCase], tmp_path: Path) -> None:
    draw_cases(cases, tmp_path / "a.png")
    draw_cases(cases[::-1], tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.slow
def test_the_title_may_be_another(cases: list[DemoCase], tmp_path: Path) -> None:
    draw_cases(cases, tmp_path / "a.png")
    draw_cases(cases, tmp_path / "b.png", title="Chest radiographs; research use only")
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 7])
def test_few_cases_do(cases: list[DemoCase], tmp_path: Path, count: int) -> None:
    draw_cases(cases[:count], tmp_path / "cases.png")
    shown = grays_shown(tmp_path / "cases.png", 0) | grays_shown(tmp_path / "cases.png", 1)
    assert shown == set(range(count))


@pytest.mark.slow
@pytest.mark.parametrize("scores", [[1.0] * 20, [1e300] * 10 + [-1e300] * 10, [1e-12] * 20])
def test_awkward_scores_do(cases: list[DemoCase], tmp_path: Path, scores: list[float]) -> None:
    rows = [DemoCase(case.path, score, 0.5, case.truth) for case, score in zip(cases, scores, strict=True)]
    draw_cases(rows, tmp_path / "cases.png")
    assert (tmp_path / "cases.png").stat().st_size > 10_000


def test_cases_without_a_score_are_left_out(cases: list[DemoCase], tmp_path: Path) -> None:
    broken = DemoCase(tmp_path / "missing.png", math.nan, 1.0, True)
    draw_cases([*cases, broken], tmp_path / "cases.png")
    with pytest.raises(DataError, match=r"no scored case to draw; score"):
        draw_cases([broken], tmp_path / "cases.png")


def test_a_missing_image_and_an_unwritable_place_are_named(cases: list[DemoCase], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cases\.png: cannot be written \(.+\); choose another place$"):
        draw_cases(cases, tmp_path / "missing" / "cases.png")
    cases[19].path.unlink()
    with pytest.raises(ImageError, match=r"case-19\.png: cannot be opened"):
        draw_cases(cases, tmp_path / "cases.png")


def test_missing_matplotlib(cases: list[DemoCase], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(DataError, match=r"needs matplotlib; pip install 'msde\[demo\]'$"):
        draw_cases(cases, tmp_path / "cases.png")


@pytest.mark.slow
def test_leaves_pyplot_alone() -> None:
    code = (
        "import sys, msde.demo\nassert 'matplotlib' not in sys.modules and 'scipy' not in sys.modules\n"
        "from pathlib import Path\nfrom PIL import Image\nfrom tempfile import mkdtemp\n"
        "folder = Path(mkdtemp())\nImage.new('L', (16, 16)).save(folder / 'a.png')\n"
        "msde.demo.draw_cases([msde.demo.DemoCase(folder / 'a.png', 1.0, 0.5, True)], folder / 'b.png')\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
