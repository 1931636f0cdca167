import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from tests.pictures import disc
from tests.scores import ROUNDING

from msde.images import find_images
from msde.model.anomaly_model import AnomalyModel
from msde.model.fingerprint import Fingerprint
from msde.report import make_worklist
from msde.report.summary import notices
from msde.report.worklist import SLICES


def test_the_lowest_p_value_comes_first_and_what_has_no_score_last(worklist):
    usable = [case for case in worklist.cases if case.score.error is None]
    keys = [(case.score.p_value, -case.score.anomaly_score) for case in usable]
    assert keys == sorted(keys)
    assert len(usable) == 7
    assert [case.score.error is None for case in worklist.cases] == [True] * 7 + [False]
    assert {case.score.flagged for case in worklist.cases[:4]} == {True}
    assert "broken.png" in worklist.errors[0]


def test_the_scores_are_those_of_the_model(worklist, model, incoming):
    alone = {result.path: result for result in model.score(incoming)}
    for case in worklist.cases[:-1]:
        assert case.score == alone[case.score.path]
        assert str(case.pictures[0].score.source) == case.score.path


def test_training_images_are_known(model, train, incoming):
    worklist = make_worklist(model, find_images([train / "000.png", incoming / "normal"]))
    seen = {case.score.path: case.seen_in_training for case in worklist.cases}
    assert [path for path, known in seen.items() if known] == [str(train / "000.png")]


def test_images_of_the_pool_are_known(model, train, incoming):
    pooled = Fingerprint.of([], [score.digest for score in model.score(incoming / "normal")])
    adapted = AnomalyModel.of(replace(model.fitted, fingerprint=pooled), model.session)
    worklist = make_worklist(adapted, find_images([train / "000.png", incoming / "normal"]))
    assert [case.in_pool for case in worklist.cases if case.score.path == str(train / "000.png")] == [False]
    assert sum(case.in_pool for case in worklist.cases) == len(worklist.cases) - 1
    assert not any(case.seen_in_training for case in worklist.cases)
    assert any("unlabelled pool" in line for line in notices(worklist, adapted))


def test_a_volume_is_one_case_with_its_highest_slices(model, stack, incoming):
    worklist = make_worklist(model, find_images([stack, incoming / "normal"]))
    volumes = [case for case in worklist.cases if case.score.is_volume]
    assert len(volumes) == 1
    assert len(worklist.cases) == 4
    assert len(volumes[0].score.parts) == 8
    scores = [picture.score.anomaly_score for picture in volumes[0].pictures]
    assert len(scores) == SLICES
    assert scores == sorted(scores, reverse=True)
    alone = sorted((row.anomaly_score for row in model.score(stack)[:-1]), reverse=True)
    assert scores == pytest.approx(alone[:SLICES], rel=ROUNDING)
    assert math.isnan(volumes[0].score.p_value)
    assert worklist.cases[-1] is volumes[0]


def test_a_volume_with_a_bad_page_has_no_score_and_still_its_other_pages(model, tmp_path):
    rng = np.random.default_rng(5)
    pages = [Image.fromarray(disc(rng)) for _ in range(3)]
    pages[1] = Image.fromarray(np.zeros((4, 4), np.uint8))  # too small to show anything
    pages[0].save(tmp_path / "v.tif", save_all=True, append_images=pages[1:])
    (case,) = make_worklist(model, find_images([tmp_path])).cases
    assert math.isnan(case.score.anomaly_score)
    assert len(case.pictures) == 2
    assert len(case.unusable) == 2
