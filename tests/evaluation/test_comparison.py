import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from msde.evaluation.comparison import Arm, Comparison, compare, p_values_of_unseen
from msde.method.verification import Verification
from msde.model.anomaly_model import AnomalyModel
from msde.model.retraining import gather


def files(discs, kind):
    return sorted((discs / kind).iterdir())


@pytest.fixture(scope="module")
def retraining(plain_model, discs):
    said = dict.fromkeys(files(discs, "abnormal")[:6], True) | dict.fromkeys(files(discs, "normal")[:6], False)
    return gather(plain_model, files(discs, "train"), said)


@pytest.fixture(scope="module")
def compared(retraining):
    return compare(retraining, others=np.full(30, 0.6))


def arm(scores, p_values, alpha=0.05):
    return Arm(np.array(scores), np.array(p_values), np.array(p_values) <= alpha)


def made(old, new, abnormal, looked_at, others, patients=None):
    abnormal = np.array(abnormal)
    patients = np.arange(len(abnormal)) if patients is None else np.array(patients)
    verification = Verification.of(np.array(looked_at), np.array(others, dtype=float), 0.05)
    names = [f"{number}.png" for number in range(len(abnormal))]
    return Comparison(names, abnormal, patients, old, new, 0.05, verification, np.array(looked_at), others is not None)


def test_the_old_model_stands_for_itself_where_it_has_seen_nobody(compared, retraining, plain_model):
    scores = plain_model.scorer_.score(retraining.judged.rows)
    np.testing.assert_allclose(compared.old.p_values, plain_model.calibration_.p_values(scores))
    assert compared.aurocs[0].value == pytest.approx(roc_auc_score(compared.abnormal, compared.old.scores))


@pytest.mark.slow
def test_each_image_is_scored_by_a_fit_that_has_not_seen_it(compared, retraining):
    for fold in retraining.folds():
        chosen = np.isin(retraining.units, fold)
        fitted, _ = retraining.fit(left_out=fold)
        assert not fitted.has_seen(retraining.judged.digests)[chosen].any()
        expected = fitted.images.p_values(fitted.scorer.score(retraining.judged.rows[chosen]))
        np.testing.assert_allclose(compared.new.p_values[chosen], expected)


@pytest.mark.slow
def test_a_version_that_has_learnt_from_them_is_held_out_too(compared, retraining, plain_model, discs):
    learnt = AnomalyModel.of(retraining.fit()[0], plain_model.session)
    said = dict(zip(map(Path, retraining.judged.names), retraining.abnormal.tolist(), strict=True))
    again = gather(learnt, files(discs, "train"), said)
    found = compare(again, others=np.full(30, 0.6))
    np.testing.assert_allclose(found.old.p_values, compared.new.p_values)
    np.testing.assert_allclose(found.old.scores, found.new.scores)
    assert found.aurocs[2].value == 0


def test_p_values_of_the_others_are_without_what_was_learnt_from(plain_model, discs):
    found = p_values_of_unseen(plain_model, [*files(discs, "train")[:3], *files(discs, "normal")[:2]])
    assert len(found) == 2


def test_weights_undo_that_flagged_images_are_looked_at_more_often():
    # Of 100 normals 5 are flagged and all looked at; of the 95 others 19.
    p_values = [0.01] * 5 + [0.5] * 19 + [0.01] * 10
    scores = [3.0] * 5 + [0.0] * 19 + [4.0] * 10
    same = arm(scores, p_values)
    found = made(same, same, [False] * 24 + [True] * 10, p_values, [0.5] * 76)
    share = found.share_flagged(same, abnormal=False)
    assert share.value == pytest.approx(5 / 100)
    assert share.low < share.value < share.high
    assert "15 of 15 flagged images and 19 of 95 others have verdicts" in found.bias
    assert "inverse probability weights" in found.bias
    assert made(same, same, [False] * 24 + [True] * 10, p_values, []).share_flagged(
        same, abnormal=False
    ).value == pytest.approx(5 / 24)


def test_where_only_flagged_images_were_looked_at_that_is_said_and_nothing_made_up():
    same = arm([3.0, 2.0, 4.0, 5.0], [0.01] * 4)
    for others in ([0.5] * 9, []):
        found = made(same, same, [False, False, True, True], [0.01] * 4, others)
        assert found.share_flagged(same, abnormal=False) is None
        assert "only flagged images have verdicts (4 of 4)" in found.bias
        assert found.figures()["old"]["flags_per_1000"] is None
        assert "not known" in "\n".join(found.summary())


def test_which_images_have_no_verdict_may_not_be_known():
    same = arm([3.0, 0.0, 4.0, 1.0], [0.01, 0.5, 0.01, 0.5])
    all_judged = made(same, same, [False, False, True, True], [0.01, 0.5, 0.01, 0.5], [])
    assert all_judged.bias is None
    assert "is not known" in str(replace(all_judged, knows_others=False).bias)


def test_images_that_change_sides_are_listed_abnormal_ones_first():
    old = arm([3.0, 0.0, 0.0, 3.0], [0.01, 0.5, 0.5, 0.01])
    new = arm([0.0, 3.0, 0.0, 3.0], [0.5, 0.01, 0.5, 0.01])
    found = made(old, new, [False, True, False, True], [0.01, 0.5, 0.5, 0.01], [])
    changed = found.figures()["changed"]
    assert [(one["image"], one["abnormal"], one["now_flagged"]) for one in changed] == [
        ("1.png", True, True),
        ("0.png", False, False),
    ]
    assert "  1.png: abnormal, flagged now (p = 0.5 before, 0.01 after)" in found.summary()
    assert found.aurocs[2].value == pytest.approx(0.5)
    assert found.roc(new)[0] == (0, 0)
    assert found.roc(new)[-1] == (1, 1)


def test_figures_are_ready_for_json_and_few_images_are_told(compared):
    figures = json.loads(json.dumps(compared.figures(lambda row: row), allow_nan=False))
    assert figures["n_normal"] == figures["n_abnormal"] == 6
    assert any("6 normal and 6 abnormal images are few" in note for note in figures["notes"])
