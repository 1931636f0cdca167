from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msde import MSDEDetector
from msde.errors import DataError, MSDEError
from msde.images.patients import Patients
from msde.method.scorers import LabelledScorer
from msde.model.anomaly_model import AnomalyModel
from msde.model.retraining import Retraining, detector_like, gather


def files(discs, kind):
    return sorted((discs / kind).iterdir())


@pytest.fixture(scope="module")
def verdicts(discs):
    """Six images called abnormal, and six called normal."""
    return dict.fromkeys(files(discs, "abnormal")[:6], True) | dict.fromkeys(files(discs, "normal")[:6], False)


@pytest.fixture(scope="module")
def retraining(plain_model, discs, verdicts):
    return gather(plain_model, files(discs, "train"), verdicts)


@pytest.fixture(scope="module")
def fitted(retraining):
    return retraining.fit()[0]


def test_it_learns_what_a_fit_to_the_same_images_learns(retraining, fitted, plain_model, network, discs, verdicts):
    normals = files(discs, "train") + [path for path, abnormal in verdicts.items() if not abnormal]
    abnormal = [path for path, called in verdicts.items() if called]
    as_fit = AnomalyModel(network).fit(normals, abnormal=abnormal, heatmaps=False)
    rows = retraining.judged.rows
    np.testing.assert_allclose(fitted.scorer.score(rows), as_fit.scorer_.score(rows), rtol=1e-6)
    assert fitted.fingerprint.n_normals == 46
    assert fitted.labels.describe() == {"images": 6, "patients": 6, "kinds": {}}


def test_normals_chosen_by_their_scores_do_not_calibrate(fitted, plain_model):
    assert len(fitted.images.scores) == len(plain_model.calibration_.scores) == 40


@pytest.mark.slow
def test_a_model_calibrated_at_the_place_is_calibrated_on_confirmed_normals(plain_model, discs, verdicts):
    local = plain_model.fitted.recalibrated(gather(plain_model, files(discs, "train"), verdicts).judged, alpha=0.2)
    model = AnomalyModel.of(local, plain_model.session)
    found = gather(model, files(discs, "train"), verdicts)
    for _ in range(2):  # a version that has learnt hands it on
        fitted, _ = found.fit()
        assert len(fitted.images.scores) == 6
        assert fitted.images.source.startswith("cross-fitted confirmed normals")
        found = gather(AnomalyModel.of(fitted, plain_model.session), files(discs, "train"), verdicts)


def test_patients_who_are_left_out_are_not_learnt_from(retraining):
    fold = retraining.folds()[0]
    fitted, _ = retraining.fit(left_out=fold)
    seen = fitted.has_seen(retraining.judged.digests)
    np.testing.assert_array_equal(seen, ~np.isin(retraining.units, fold))


def test_folds_part_patients_and_each_has_its_turn(retraining):
    dealt = np.concatenate(retraining.folds())
    assert sorted(dealt.tolist()) == sorted(set(retraining.units.tolist()))
    held_out = [retraining.abnormal[np.isin(retraining.units, fold)] for fold in retraining.folds()]
    assert all(of_fold.any() for of_fold in held_out)


@pytest.mark.slow
@given(st.randoms(use_true_random=False))
def test_the_order_of_images_changes_no_fold(retraining, random):
    order = np.array(random.sample(range(len(retraining.units)), len(retraining.units)))
    judged = retraining.judged
    labels = dict(zip(judged.digests, retraining.abnormal.tolist(), strict=True))
    shuffled = type(judged)(
        *(judged.rows[order], [judged.names[row] for row in order], [judged.digests[row] for row in order]),
        *([], {}, 0.0, [judged.keys[row] for row in order]),
    )
    other = Retraining.of(retraining.old, retraining.normals, shuffled, labels)

    def named(found):
        units = found.units.tolist()
        return [{found.judged.digests[units.index(unit)] for unit in fold.tolist()} for fold in found.folds()]

    assert named(other) == named(retraining)


def test_a_version_that_has_learnt_learns_on(plain_model, fitted, discs, verdicts):
    more = verdicts | {files(discs, "abnormal")[7]: True}
    again = gather(AnomalyModel.of(fitted, plain_model.session), files(discs, "train"), more)
    assert again.seen.sum() == 12
    assert again.touches(again.units[again.seen][:1])
    assert not any("forgotten" in note or "not learnt" in note for note in again.notes)
    assert again.fit()[0].labels.describe()["images"] == 7


@pytest.mark.slow
def test_labels_that_are_not_given_again_are_told(plain_model, fitted, discs, verdicts):
    model = AnomalyModel.of(fitted, plain_model.session)
    fewer = dict(list(verdicts.items())[2:])
    notes = " ".join(gather(model, files(discs, "train"), fewer).notes)
    assert "2 of the 6 labelled abnormal images that the model learnt from are not among those given" in notes
    given = gather(
        model, files(discs, "train"), fewer, abnormal=files(discs, "abnormal")[:2] + files(discs, "normal")[9:]
    )
    assert not any("forgotten" in note for note in given.notes)
    assert given.fit()[0].labels.describe()["images"] == 6


def test_a_verdict_that_contradicts_a_label_is_refused_and_named(plain_model, fitted, discs, verdicts):
    first = files(discs, "abnormal")[0]
    model = AnomalyModel.of(fitted, plain_model.session)
    with pytest.raises(DataError, match=f"1 labelled abnormal images are among the normals: {first} is {first}"):
        gather(model, files(discs, "train"), verdicts | {first: False}, abnormal=[first])


def test_normals_that_are_missing_are_told_and_others_left_out(plain_model, discs, verdicts):
    found = gather(plain_model, [*files(discs, "train")[5:], *files(discs, "normal")[8:]], verdicts)
    assert len(found.normals.rows) == 35
    assert any("5 of the 40 normals" in note for note in found.notes)
    with pytest.raises(DataError, match="0 of the 12 normals given took part in the fit of the model; give the 40"):
        gather(plain_model, files(discs, "normal"), verdicts)


def test_an_abnormal_image_among_the_normals_is_refused_and_named(plain_model, discs, verdicts):
    normal = files(discs, "train")[3]
    with pytest.raises(DataError, match=f"among the normals: {normal} is {normal}"):
        gather(plain_model, files(discs, "train"), verdicts | {normal: True})
    known = gather(plain_model, files(discs, "train"), verdicts | {normal: False})
    assert len(known.judged.rows) == 12


def test_copies_that_are_called_otherwise_are_left_out(plain_model, discs, verdicts, tmp_path):
    copy = tmp_path / "copy.png"
    copy.write_bytes(files(discs, "abnormal")[0].read_bytes())
    found = gather(plain_model, files(discs, "train"), verdicts | {copy: False})
    assert len(found.judged.rows) == 11
    assert any("1 images are left out, whose copies are called otherwise" in note for note in found.notes)


@pytest.mark.parametrize(("n_abnormal", "n_normal"), [(1, 3), (3, 0), (0, 3)])
def test_too_few_verdicts_are_refused(plain_model, discs, n_abnormal, n_normal):
    said = dict.fromkeys(files(discs, "abnormal")[:n_abnormal], True) | dict.fromkeys(
        files(discs, "normal")[:n_normal], False
    )
    with pytest.raises(DataError, match=f"verdicts call {n_abnormal} images of {n_abnormal} patients abnormal"):
        gather(plain_model, files(discs, "train"), said)


def test_abnormal_images_of_one_patient_are_refused(plain_model, discs, verdicts):
    with pytest.raises(DataError, match="6 images of 1 patients abnormal"):
        gather(plain_model, files(discs, "train"), verdicts, Patients("abnormal|normal|train"))


def test_another_mode_is_refused(network, discs, verdicts):
    model = AnomalyModel(network, MSDEDetector("adaptive")).fit(
        discs / "train", unlabelled=discs / "normal", heatmaps=False
    )
    with pytest.raises(MSDEError, match="this model is adaptive"):
        gather(model, files(discs, "train"), verdicts)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [{}, {"shift": None}, {"gaussian": "pca"}, {"weighting": "uniform", "alpha": 0.1}], ids=str
)
def test_settings_are_those_of_the_model(network, discs, plain_model, settings):
    model = AnomalyModel(network, MSDEDetector(**settings)).fit(discs / "train", heatmaps=False)
    rows = np.stack([np.asarray(image.embedding) for image in model.embed(files(discs, "train"))])
    again = detector_like(model.fitted).fit(rows)
    np.testing.assert_allclose(again.scorer_.score(rows[:5]), model.scorer_.score(rows[:5]), rtol=1e-6)
    assert again.alpha == settings.get("alpha", 0.05)


def test_the_new_model_is_a_labelled_one(fitted):
    assert isinstance(fitted.scorer, LabelledScorer)


@pytest.mark.slow
@pytest.mark.parametrize(("alpha", "local"), [(0.2, True), (1 / 6, False)])  # four normals are needed, or five
def test_folds_and_the_version_offered_are_calibrated_alike(retraining, alpha, local):
    old = retraining.old.recalibrated(retraining.judged, alpha)
    said = dict(zip(retraining.judged.digests, retraining.abnormal.tolist(), strict=True))
    found = Retraining.of(old, retraining.normals, retraining.judged, said)
    fits = [found.fit(), *(found.fit(left_out=fold) for fold in found.folds()[:2])]
    assert [fitted.calibrated_at_place for fitted, _ in fits] == [local] * 3
    assert any("normals of 5 patients are needed" in note for note in found.notes) is not local


def test_what_confirmed_normals_calibrate_says_so_of_volumes_and_patients_too(retraining):
    judged = retraining.judged
    parted = replace(
        judged,
        keys=[frozenset({("patient", name)}) for name in judged.names],
        volumes={name: [row] for row, name in enumerate(judged.names)},
    )
    said = dict(zip(judged.digests, retraining.abnormal.tolist(), strict=True))
    old = retraining.old.recalibrated(judged, alpha=0.2)
    fitted, _ = Retraining.of(old, retraining.normals, parted, said).fit()
    assert fitted.images.source == "cross-fitted confirmed normals, by patient"
    assert fitted.volumes.source == "cross-fitted confirmed volumes, by patient"
    assert fitted.patients.source == "cross-fitted confirmed patients"
