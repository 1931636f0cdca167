"""What a notebook shows of models and scores."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image

from msde import AnomalyModel
from msde.backbones import Backbone
from msde.model.score import ImageScore


def test_a_model_says_what_it_was_fitted_on_and_what_its_flags_promise(
    explaining: AnomalyModel, network: Backbone
) -> None:
    shown = explaining._repr_html_()
    for said in ("40 normal images", "Heat maps", "90 % range", "5.0% of normal images", "research use only"):
        assert said in shown
    assert "not fitted" in AnomalyModel(network)._repr_html_()


def test_a_model_of_too_few_normals_says_that_it_flags_nothing(network: Backbone, discs: Path) -> None:
    few = AnomalyModel(network).fit(sorted((discs / "train").iterdir())[:12], heatmaps=False)
    assert "none: 12 held-out normals are too few at 0.05" in few._repr_html_()


def test_a_score_shows_its_image_and_an_explanation_where_it_differs(explaining: AnomalyModel, discs: Path) -> None:
    explanation = explaining.explain(sorted((discs / "abnormal").iterdir())[0])
    shown = explanation.score._repr_html_()
    assert shown.count("<img") == 1
    assert "share of normals" in shown
    assert explanation._repr_html_().count("data:image/webp;base64,") == 2


def test_what_cannot_be_shown_is_said_in_words(explaining: AnomalyModel, tmp_path: Path) -> None:
    (in_memory,) = explaining.score([np.zeros((64, 64))])
    assert "<img" not in in_memory._repr_html_()
    assert "Anomaly score" in in_memory._repr_html_()
    path = tmp_path / "<script>.png"
    Image.new("L", (64, 64)).save(path)
    (score,) = explaining.score([path])
    path.unlink()
    assert "<img" not in score._repr_html_()
    assert "<script>" not in score._repr_html_()
    unreadable = ImageScore("x.png", float("nan"), float("nan"), None, "x.png: cannot be opened")._repr_html_()
    assert "x.png: cannot be opened" in unreadable
    assert "nan" not in unreadable


def test_a_volume_shows_its_highest_slices(explaining: AnomalyModel, tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((64, 64), 40 * number, np.uint8)) for number in range(5)]
    frames[0].save(tmp_path / "stack.tif", save_all=True, append_images=frames[1:])
    *_, volume = explaining.score([tmp_path / "stack.tif"])
    assert volume.is_volume
    shown = volume._repr_html_()
    assert shown.count("<img") == 3
    assert re.search(r"<th[^>]*>Slices</th><td[^>]*>5</td>", shown)
