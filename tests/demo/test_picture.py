from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from msde import AnomalyModel
from msde.demo import DemoCase, draw_cases
from msde.errors import DataError, ImageError
from msde.model.score import ImageScore

TITLE = "Grays; research use only"


def case_of(path: Path, score: float, truth: bool, **further) -> DemoCase:
    of_image = ImageScore(str(path), score, 0.5, False, None, source=path)
    return DemoCase(of_image, of_image, truth, **further)


@pytest.fixture
def cases(tmp_path: Path) -> list[DemoCase]:
    """Give twenty cases whose pictures are plain grays, brighter with the score."""
    made = []
    for i in range(20):
        path = tmp_path / f"case-{i:02d}.png"
        Image.new("L", (32, 32), 12 * i + 5).save(path)
        made.append(case_of(path, float(i), i > 12))
    return made


def grays_shown(path: Path, half: int) -> set[int]:
    """Give the case numbers whose gray fills part of one half of the figure's width."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    side = np.array_split(pixels, 2, axis=1)[half].reshape(-1, 3)
    neutral = side[(side == side[:, :1]).all(axis=1)][:, 0]
    return {i for i in range(20) if (abs(neutral.astype(int) - 12 * i - 5) <= 1).sum() > 5000}


@pytest.mark.slow
def test_shows_the_highest_and_the_lowest_scores(
    cases: list[DemoCase], plain_model: AnomalyModel, tmp_path: Path
) -> None:
    rows = [cases[i] for i in np.random.default_rng(0).permutation(20)]
    draw_cases(rows, plain_model, tmp_path / "cases.png", TITLE)
    assert grays_shown(tmp_path / "cases.png", 0) == {16, 17, 18, 19}
    assert grays_shown(tmp_path / "cases.png", 1) == {0, 1, 2, 3}


@pytest.mark.slow
def test_heat_and_the_nearest_normal_stand_beside_a_case(
    cases: list[DemoCase], explaining: AnomalyModel, tmp_path: Path
) -> None:
    image, nearest = cases[5].shown.sources[0], cases[12].shown.sources[0]
    assert isinstance(image, Path)
    hot = case_of(image, 1.0, True, heat=np.ones(56 * 56, np.float32), alike=nearest)
    hot = replace(hot, shown=replace(hot.shown, p_value=0.001))
    draw_cases([hot], explaining, tmp_path / "cases.png", TITLE)
    assert grays_shown(tmp_path / "cases.png", 0) == {5, 12}
    with Image.open(tmp_path / "cases.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    yellow = (pixels[..., 0] > 150) & (pixels[..., 1] > 130) & (pixels[..., 2] < 80)
    assert yellow.sum() > 5000


@pytest.mark.slow
def test_title_and_figures_are_drawn_and_the_order_does_not_matter(
    cases: list[DemoCase], plain_model: AnomalyModel, tmp_path: Path
) -> None:
    drawn = []
    for rows, title, figures in ((cases, TITLE, []), (cases[::-1], TITLE, []), (cases, "Another", ["AUROC 0.9"])):
        draw_cases(rows, plain_model, tmp_path / "cases.png", title, figures)
        drawn.append((tmp_path / "cases.png").read_bytes())
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 5])
def test_few_cases_do(cases: list[DemoCase], plain_model: AnomalyModel, tmp_path: Path, count: int) -> None:
    draw_cases(cases[:count], plain_model, tmp_path / "cases.png", TITLE)
    shown = grays_shown(tmp_path / "cases.png", 0) | grays_shown(tmp_path / "cases.png", 1)
    assert shown == set(range(count))


@pytest.mark.slow
@pytest.mark.parametrize("scores", [[1e-12] * 20, [1e300] * 10 + [-1e300] * 10])
def test_awkward_scores_do(
    cases: list[DemoCase], plain_model: AnomalyModel, tmp_path: Path, scores: list[float]
) -> None:
    rows = [case_of(Path(case.score.path), score, case.truth) for case, score in zip(cases, scores, strict=True)]
    draw_cases(rows, plain_model, tmp_path / "cases.png", TITLE)
    assert (tmp_path / "cases.png").stat().st_size > 10_000


@pytest.mark.slow
def test_cases_without_a_score_are_left_out(cases: list[DemoCase], plain_model: AnomalyModel, tmp_path: Path) -> None:
    broken = case_of(tmp_path / "missing.png", math.nan, True)
    draw_cases([*cases, broken], plain_model, tmp_path / "cases.png", TITLE)
    with pytest.raises(DataError, match=r"no scored case to draw; score"):
        draw_cases([broken], plain_model, tmp_path / "cases.png", TITLE)


@pytest.mark.slow
def test_a_missing_image_and_an_unwritable_place_are_named(
    cases: list[DemoCase], plain_model: AnomalyModel, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"cases\.png: cannot be written \(.+\); choose another place$"):
        draw_cases(cases, plain_model, tmp_path / "missing" / "cases.png", TITLE)
    Path(cases[19].score.path).unlink()
    with pytest.raises(ImageError, match=r"case-19\.png: cannot be opened"):
        draw_cases(cases, plain_model, tmp_path / "cases.png", TITLE)


def test_missing_matplotlib(
    cases: list[DemoCase], plain_model: AnomalyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(DataError, match=r"needs matplotlib; pip install 'msde\[demo\]'$"):
        draw_cases(cases, plain_model, tmp_path / "cases.png", TITLE)


@pytest.mark.slow
def test_importing_the_demo_is_cheap() -> None:
    code = "import sys, msde.demo\nassert 'matplotlib' not in sys.modules and 'sklearn' not in sys.modules\n"
    subprocess.run([sys.executable, "-c", code], check=True)
