import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from tests.pictures import disc, write_discs

from msde import AnomalyModel, MSDEDetector
from msde.embedding.encoder import EncoderSession
from msde.errors import DataError, ModelFileError, MSDEError
from msde.storage.bundle import read_bundle, write_bundle


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("discs")
    write_discs(root / "train", 40)
    write_discs(root / "normal", 12, seed=1)
    write_discs(root / "abnormal", 12, seed=2, lesion=True)
    return root


@pytest.fixture(scope="module")
def model(folders):
    return AnomalyModel().fit(folders / "train")


def test_abnormal_images_score_higher_and_are_flagged(model, folders):
    normal, abnormal = model.score(folders / "normal"), model.score(folders / "abnormal")
    assert max(s.anomaly_score for s in normal) < min(s.anomaly_score for s in abnormal)
    assert all(s.flagged for s in abnormal)


def test_one_image_scores_as_in_its_batch(model, folders):
    together = model.score(folders / "normal")
    for expected in together[:4]:
        alone = model.score([expected.path])[0]
        assert alone.anomaly_score == pytest.approx(expected.anomaly_score, rel=1e-6)


def test_file_array_and_picture_score_the_same(model, folders):
    path = folders / "normal" / "003.png"
    with Image.open(path) as picture:
        array = np.asarray(picture)
        scores = [model.score([source])[0].anomaly_score for source in (path, str(path), array, picture)]
    assert scores == pytest.approx([scores[0]] * 4, rel=1e-6)


@pytest.mark.parametrize("mode", ["inductive", "adaptive", "transductive"])
def test_a_saved_model_scores_the_same(folders, tmp_path, mode):
    pool = folders / "normal" if mode == "adaptive" else None
    model = AnomalyModel(detector=MSDEDetector(mode)).fit(folders / "train", pool)
    model.save(tmp_path / "m.msde")
    loaded = AnomalyModel.load(tmp_path / "m.msde")
    # As text, for in transductive mode the p-values are NaN.
    assert str(loaded.score(folders / "abnormal")) == str(model.score(folders / "abnormal"))
    assert loaded.info() == model.info()


def test_scoring_a_saved_model_imports_nothing_heavy(model, folders, tmp_path):
    model.save(tmp_path / "m.msde")
    heavy = "torch timm sklearn scipy pandas matplotlib umap"
    code = (
        "import sys; from msde import AnomalyModel\n"
        "AnomalyModel.load(sys.argv[1]).score(sys.argv[2])\n"
        f"print(*(m for m in {heavy.split()} if m in sys.modules))"
    )
    image = folders / "normal" / "000.png"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "m.msde", image], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_unreadable_training_images_are_left_out_and_listed(tmp_path, rng):
    write_discs(tmp_path / "train", 5)
    (tmp_path / "train" / "bad.png").write_bytes(b"")
    model = AnomalyModel().fit(tmp_path / "train")
    assert len(model.unreadable_) == 1
    assert "bad.png" in model.unreadable_[0]
    assert model.info()["training"]["images"] == 5


def test_unlabelled_images_make_the_default_mode_adaptive(folders):
    model = AnomalyModel().fit(folders / "train", folders / "abnormal")
    assert model.info()["mode"] == "adaptive"
    together = model.score(folders / "normal")
    assert model.score([together[3].path])[0].anomaly_score == pytest.approx(together[3].anomaly_score, rel=1e-6)


def test_unusable_unlabelled_images_are_refused(folders, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"0 of 1 unlabelled images can be used .*bad\.png"):
        AnomalyModel().fit(folders / "train", [tmp_path / "bad.png"])


def test_too_few_usable_images_are_refused(rng):
    with pytest.raises(DataError, match="1 of 1 normal images can be used"):
        AnomalyModel().fit([disc(rng)])


def test_copies_are_left_out(rng):
    images = [disc(rng) for _ in range(5)]
    model = AnomalyModel().fit([*images, images[0], images[3]])
    assert model.n_copies_ == 2
    assert model.info()["training"]["images"] == 5


def test_copies_of_one_image_alone_are_refused(rng):
    with pytest.raises(DataError, match="1 of 6 normal images can be used, 5 are copies"):
        AnomalyModel().fit([disc(rng)] * 6)


def test_transductive_scores_have_no_p_values(folders):
    model = AnomalyModel(detector=MSDEDetector("transductive")).fit(folders / "train")
    assert {(str(s.p_value), s.flagged) for s in model.score(folders / "normal")} == {("nan", None)}
    with pytest.raises(MSDEError, match="depend on the batch"):
        model.calibrate(folders / "normal")


def test_an_unfitted_model_says_so(rng, tmp_path):
    for job in (lambda m: m.score([disc(rng)]), lambda m: m.save(tmp_path / "m.msde"), lambda m: m.info()):
        with pytest.raises(MSDEError, match="not fitted"):
            job(AnomalyModel())


def test_an_array_image_is_named_by_its_number(model, rng):
    scores = model.score([disc(rng), np.full((64, 64), 7.0)])
    assert [s.path for s in scores] == ["0", "1"]
    assert scores[1].flagged is None
    assert np.isnan(scores[1].p_value)


def test_a_model_file_with_a_part_missing_is_refused(model, tmp_path):
    model.save(tmp_path / "m.msde")
    config, parts = read_bundle(tmp_path / "m.msde")
    for part in ("scorer", "calibration", "graph"):
        write_bundle(tmp_path / "less.msde", {p: a for p, a in parts.items() if p != part}, config)
        with pytest.raises(ModelFileError, match=r"less\.msde: the model lacks"):
            AnomalyModel.load(tmp_path / "less.msde")


def test_the_model_knows_its_training_images(model, folders):
    embedded = list(model.embed(folders / "train"))[:3] + list(model.embed(folders / "normal"))
    assert model.fingerprint_.count_known([image.digest for image in embedded]) == 3


def test_calibrating_changes_the_threshold_only(folders, tmp_path):
    model = AnomalyModel().fit(folders / "train")
    before = model.score(folders / "abnormal")
    model.calibrate(folders / "normal", alpha=0.2).save(tmp_path / "m.msde")
    after = AnomalyModel.load(tmp_path / "m.msde")
    assert [s.anomaly_score for s in after.score(folders / "abnormal")] == [s.anomaly_score for s in before]
    assert (after.calibration_.alpha, len(after.calibration_.scores)) == (0.2, 12)


def test_training_images_do_not_calibrate(model, folders):
    with pytest.raises(DataError, match=r"000\.png: took part in the fit \(40 of the calibration images"):
        model.calibrate(folders / "train")


def test_abnormal_images_are_a_drift(model, folders):
    assert not model.drift(model.score(folders / "normal")).found
    assert model.drift(model.score(folders / "abnormal")).found


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("scorer", "gaussian.mean", np.zeros(3)),
        ("scorer", "gaussian.mean", np.full(496, np.nan)),
        ("scorer", "standardizer.before.mean", np.zeros(7, np.float32)),
        ("calibration", "scores", np.array([2.0, 1.0])),
        ("calibration", "scores", np.array([np.nan])),
    ],
)
def test_arrays_that_make_no_model_are_refused(model, tmp_path, part, name, value):
    model.save(tmp_path / "m.msde")
    config, parts = read_bundle(tmp_path / "m.msde")
    parts[part][name] = value
    write_bundle(tmp_path / "odd.msde", parts, config)
    with pytest.raises(ModelFileError, match=r"odd\.msde: is no model") as error:
        AnomalyModel.load(tmp_path / "odd.msde")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("alpha", [0, 5, "x", None])
def test_settings_that_make_no_model_are_refused(model, tmp_path, alpha):
    model.save(tmp_path / "m.msde")
    config, parts = read_bundle(tmp_path / "m.msde")
    config["calibration"]["alpha"] = alpha
    write_bundle(tmp_path / "odd.msde", parts, config)
    with pytest.raises(ModelFileError, match=r"odd\.msde: is no model"):
        AnomalyModel.load(tmp_path / "odd.msde")


def test_the_pool_took_part_in_the_fit(folders):
    model = AnomalyModel().fit(folders / "train", folders / "normal")
    assert model.info()["training"] | {"fingerprint": ""} == {"images": 40, "unlabelled": 12, "fingerprint": ""}
    with pytest.raises(DataError, match="took part in the fit"):
        model.calibrate(folders / "normal")


def test_a_second_fit_on_the_same_images_does_no_inference(folders, tmp_path, monkeypatch):
    first = AnomalyModel(cache=tmp_path / "cache").fit(folders / "train")
    first.save(tmp_path / "m.msde")
    expected = first.score(folders / "normal")
    assert expected == AnomalyModel().fit(folders / "train").score(folders / "normal")
    monkeypatch.setattr(EncoderSession, "embed", lambda *_: pytest.fail("inference"))
    second = AnomalyModel(cache=tmp_path / "cache").fit(folders / "train")
    np.testing.assert_equal(second.localizer_.arrays(), first.localizer_.arrays())
    loaded = AnomalyModel.load(tmp_path / "m.msde", cache=tmp_path / "cache")
    assert second.score(folders / "normal") == loaded.score(folders / "normal") == expected
    assert (second.cache.asked, second.cache.found) == (52, 52)


def test_the_cache_holds_no_names(folders, tmp_path):
    AnomalyModel(cache=tmp_path).fit(folders / "train")
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(kept) == 80  # embeddings, and what heat maps are fitted on
    for path in kept:
        assert not any(image.name.encode() in path.read_bytes() for image in (folders / "train").iterdir())
        assert ".png" not in path.name


def test_heat_maps_survive_the_model_file(folders, tmp_path):
    model = AnomalyModel().fit(folders / "train")
    model.save(tmp_path / "m.msde")
    loaded = AnomalyModel.load(tmp_path / "m.msde")
    (image,) = [path for path in (folders / "normal").iterdir() if path.name == "000.png"]
    np.testing.assert_array_equal(loaded.explain(image).heat, model.explain(image).heat)
    assert loaded.info()["heatmaps"] is True
    assert sum(array.nbytes for part in loaded.localizer_.arrays().values() for array in part.values()) < 20_000_000


def test_a_file_of_before_heat_maps_loads_without_them(folders, tmp_path):
    AnomalyModel().fit(folders / "train", heatmaps=False).save(tmp_path / "m.msde")
    config, parts = read_bundle(tmp_path / "m.msde")
    assert "localizer" not in config
    assert not [part for part in parts if part.startswith("localizer")]
    assert AnomalyModel.load(tmp_path / "m.msde").localizer_ is None


@pytest.mark.parametrize("key", ["input_size", "levels"])
def test_a_description_that_cannot_be_is_refused_in_one_line(folders, tmp_path, key):
    AnomalyModel().fit(folders / "train").save(tmp_path / "m.msde")
    config, parts = read_bundle(tmp_path / "m.msde")
    config["encoder"]["backbones"][0][key] = {"input_size": 10**400, "levels": ["level9"]}[key]
    write_bundle(tmp_path / "odd.msde", parts, config)
    with pytest.raises(ModelFileError, match=r"^[^\n]*odd\.msde[^\n]*$"):
        AnomalyModel.load(tmp_path / "odd.msde")


@pytest.mark.parametrize("change", ["missing", "shorter", "wider", "nan"])
def test_heat_maps_that_do_not_fit_are_found_at_loading(folders, tmp_path, change):
    AnomalyModel().fit(folders / "train").save(tmp_path / "m.msde")
    config, parts = read_bundle(tmp_path / "m.msde")
    part, name = parts["localizer.plain"], "normality.coarse.whitening"
    if change == "missing":
        del part[name]
    elif change == "shorter":
        part[name] = part[name][:-1]
    elif change == "wider":
        part["axes.coarse.axes"] = part["axes.coarse.axes"][:, :-1]
    else:
        part[name] = np.full_like(part[name], np.nan)
    write_bundle(tmp_path / "odd.msde", parts, config)
    with pytest.raises(ModelFileError, match=r"odd\.msde"):
        AnomalyModel.load(tmp_path / "odd.msde")
