from __future__ import annotations

from pathlib import Path

from msde import AnomalyModel
from msde.demo import compare_few_labels
from msde.images import find_images


def test_both_models_score_the_images_that_are_not_labelled(plain_model: AnomalyModel, discs: Path) -> None:
    train, normal, abnormal = (find_images([discs / name]) for name in ("train", "normal", "abnormal"))
    few = compare_few_labels(plain_model, train, normal, abnormal)
    assert few is not None
    for evaluation in (few.one_class, few.labelled):
        assert (len(evaluation.scores), int(evaluation.abnormal.sum())) == (19, 7)
    lines = few.lines()
    assert lines[0].startswith("one-class: AUROC ")
    assert lines[1].startswith("with 5 labels: AUROC ")
    assert few.labelled.scores != few.one_class.scores


def test_too_few_abnormal_images_are_not_labelled(plain_model: AnomalyModel, discs: Path) -> None:
    train, normal, abnormal = (find_images([discs / name]) for name in ("train", "normal", "abnormal"))
    assert compare_few_labels(plain_model, train, normal, abnormal[:9]) is None
    assert compare_few_labels(plain_model, train, normal, abnormal[:2]) is None
