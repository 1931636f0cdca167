import numpy as np
import pytest
from PIL import Image
from tests.pictures import disc

from msde import AnomalyModel, MSDEDetector
from msde.errors import DataError, ModelFileError
from msde.images.patients import GroupTable
from msde.method.scorers import LabelledScorer
from msde.method.surroundings import relative
from msde.model.labels import LABELLED, UNLIKE, Labels
from msde.storage.bundle import read_bundle, write_bundle


@pytest.fixture(scope="module")
def labelled(network, discs):
    """A model that learnt from half of the abnormal images."""
    paths = sorted((discs / "abnormal").iterdir())
    kinds = {str(path): "square" if number % 2 else "spot" for number, path in enumerate(paths)}
    return AnomalyModel(network).fit(discs / "train", abnormal=paths[::2] + paths[1:4:2], kinds=kinds, heatmaps=False)


def test_what_is_like_the_labels_says_so(labelled, discs):
    abnormal = labelled.score(sorted((discs / "abnormal").iterdir())[5::2])
    assert all(score.flagged for score in abnormal)
    assert {score.evidence for score in abnormal} <= {UNLIKE, f"{LABELLED}, spot", f"{LABELLED}, square"}
    assert any(str(score.evidence).startswith(LABELLED) for score in abnormal)


def test_what_is_unlike_both_says_so(labelled, rng):
    scores = labelled.score([255 - disc(rng), np.zeros((64, 64), np.uint8)])
    assert all(score.flagged for score in scores)
    assert UNLIKE in [score.evidence for score in scores]


def test_without_labels_there_is_no_evidence(model, discs):
    assert model.score(sorted((discs / "normal").iterdir())[:1])[0].evidence is None
    assert "labelled" not in model.info()["training"]


def test_a_saved_model_says_the_same(labelled, discs, tmp_path):
    labelled.save(tmp_path / "m.msde")
    loaded = AnomalyModel.load(tmp_path / "m.msde")
    before, after = (model.score(discs / "abnormal") for model in (labelled, loaded))
    assert [score.evidence for score in after] == [score.evidence for score in before]
    assert [score.anomaly_score for score in after] == pytest.approx([score.anomaly_score for score in before])
    assert loaded.info()["training"] == labelled.info()["training"]
    assert loaded.info()["mode"] == "labelled"


def test_the_file_names_no_image(labelled, tmp_path, discs):
    labelled.save(tmp_path / "m.msde")
    content = (tmp_path / "m.msde").read_bytes()
    assert not any(path.name.encode() in content for path in (discs / "abnormal").iterdir())


def test_labels_and_kinds_are_counted(labelled, discs):
    paths = sorted((discs / "abnormal").iterdir())
    n_spots = len(paths[::2])
    assert labelled.info()["training"]["labelled"] == {
        "images": n_spots + 2,
        "patients": n_spots + 2,
        "kinds": {"spot": n_spots, "square": 2},
    }
    assert labelled.fitted.labels.in_words().endswith(f"{n_spots} spot, 2 square")


def test_parts_of_a_volume_are_of_one_patient(network, discs, tmp_path, rng):
    first, *rest = (Image.fromarray(disc(rng, lesion=True)) for _ in range(3))
    first.save(tmp_path / "stack.tif", save_all=True, append_images=rest)
    model = AnomalyModel(network).fit(discs / "train", abnormal=tmp_path / "stack.tif", heatmaps=False)
    assert model.info()["training"]["labelled"] == {"images": 3, "patients": 1, "kinds": {}}


def test_a_label_among_the_normals_is_refused_and_named(network, discs):
    normal = sorted((discs / "train").iterdir())[3]
    with pytest.raises(DataError, match=rf"1 labelled abnormal images are among the normals: .*{normal.name}"):
        AnomalyModel(network).fit(discs / "train", abnormal=[normal], heatmaps=False)


def test_a_label_among_calibrating_normals_is_refused(labelled, discs):
    with pytest.raises(DataError, match="were labelled abnormal at the fit"):
        labelled.calibrate(sorted((discs / "abnormal").iterdir())[:1])


def test_kinds_are_told_by_folder(network, discs, tmp_path):
    (tmp_path / "kinds.csv").write_text(f"path,kind\n{discs / 'abnormal'},spot\n")
    table = GroupTable.read(tmp_path / "kinds.csv", column="kind")
    model = AnomalyModel(network).fit(discs / "train", abnormal=discs / "abnormal", kinds=table, heatmaps=False)
    assert model.fitted.labels.kinds == ["spot"]
    assert not model.fitted.labels.of_rows.any()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"kinds": {"a": "b"}}, "give these too"),
        ({"abnormal": [], "kinds": None}, "0 of 0 abnormal images can be used"),
        ({"abnormal": [np.ones((40, 40))], "kinds": {"elsewhere": "b"}}, "tells the kind of none"),
    ],
)
def test_bad_labels_are_refused(network, discs, arguments, complaint):
    with pytest.raises(DataError, match=complaint):
        AnomalyModel(network).fit(discs / "train", heatmaps=False, **arguments)


def test_a_pool_goes_with_labels(network, discs, tmp_path):
    model = AnomalyModel(network, detector=MSDEDetector("adaptive")).fit(
        discs / "train", discs / "normal", abnormal=discs / "abnormal", heatmaps=False
    )
    assert model.info()["mode"] == "labelled"
    assert model.info()["training"]["unlabelled"] > 0
    model.save(tmp_path / "m.msde")
    loaded = AnomalyModel.load(tmp_path / "m.msde")
    before, after = (one.score(discs / "abnormal") for one in (model, loaded))
    assert [score.anomaly_score for score in after] == pytest.approx([score.anomaly_score for score in before])


def test_what_is_odd_about_labels_is_told(network, discs, rng):
    noise = [rng.uniform(size=(64, 64)) for _ in range(2)]
    model = AnomalyModel(network).fit(discs / "train", abnormal=noise, kinds={"0": "noise"}, heatmaps=False)
    notes = " ".join(model.notes_)
    assert "of noise only one image is labelled" in notes
    assert "the kind of 1 of 2" in notes
    assert "same modality" in notes


def test_labels_of_one_patient_are_told(network, discs):
    model = AnomalyModel(network).fit(
        discs / "train", abnormal=[sorted((discs / "abnormal").iterdir())[0]], heatmaps=False
    )
    assert any("of one patient" in note for note in model.notes_)


def test_a_file_whose_labels_do_not_fit_is_refused(labelled, tmp_path):
    labelled.save(tmp_path / "m.msde")
    config, parts = read_bundle(tmp_path / "m.msde")
    parts["labels"]["of_rows"] = parts["labels"]["of_rows"][:-1]
    config.pop("parts")
    write_bundle(tmp_path / "other.msde", parts, config)
    with pytest.raises(ModelFileError, match="another number of labelled images"):
        AnomalyModel.load(tmp_path / "other.msde")


@pytest.mark.parametrize("of_rows", [np.array([0.0]), np.array([1]), np.array([-2]), np.array([[0]])])
def test_damaged_kinds_are_refused(labelled, of_rows):
    with pytest.raises(ValueError, match="kinds of labelled images"):
        Labels(labelled.fitted.labels.fingerprint, ["a"], of_rows, 1)


@pytest.fixture
def without(labelled, tmp_path):
    """Give the model as read from a file that lacks some of the scorer's arrays and settings."""

    def without(*beginnings: str) -> AnomalyModel:
        labelled.save(tmp_path / "m.msde")
        config, parts = read_bundle(tmp_path / "m.msde")
        for holder in (parts, config):
            scorer = holder["scorer"]
            holder["scorer"] = {name: scorer[name] for name in scorer if not name.startswith(beginnings)}
        config.pop("parts")
        write_bundle(tmp_path / "other.msde", parts, config)
        return AnomalyModel.load(tmp_path / "other.msde")

    return without


def test_a_file_of_before_the_surroundings_scores_as_it_did(labelled, without, discs):
    older = without("usual", "surroundings.", "discriminant.").fitted.scorer
    assert isinstance(older, LabelledScorer)
    rows = np.stack([image.embedding for image in labelled.embed(discs / "abnormal")])
    likeness = older.likeness.of(older.standardizer.apply(rows))
    np.testing.assert_allclose(older.score(rows), older.blend.score(older.scorer.score(rows), likeness))
    assert not np.allclose(older.score(rows), labelled.fitted.scorer.score(rows))


def test_a_file_of_before_the_discriminant_scores_as_it_did(labelled, without, discs):
    older = without("discriminant.").fitted.scorer
    assert isinstance(older, LabelledScorer)
    rows = np.stack([image.embedding for image in labelled.embed(discs / "abnormal")])
    standard = older.standardizer.apply(rows)
    assert older.surroundings is not None
    assert older.usual is not None
    near = older.usual[older.surroundings.near(standard)]
    likeness = relative(older.likeness.of(standard), near, older.usual.var())
    np.testing.assert_allclose(older.score(rows), older.blend.score(older.scorer.score(rows), likeness))
    assert not np.allclose(older.score(rows), labelled.fitted.scorer.score(rows))


@pytest.mark.parametrize(
    ("missing", "said"),
    [("usual", "likeness for each of their normals"), ("discriminant.usual", "lacks 'discriminant.usual'")],
)
def test_surroundings_without_what_is_usual_there_are_refused(without, missing, said):
    with pytest.raises(ModelFileError, match=said):
        without(missing)


def test_a_pool_of_labelled_images_alone_is_refused(network, discs):
    few = sorted((discs / "abnormal").iterdir())[:3]
    with pytest.raises(DataError, match="all unlabelled images are labelled abnormal too"):
        AnomalyModel(network).fit(discs / "train", unlabelled=few, abnormal=few, heatmaps=False)
