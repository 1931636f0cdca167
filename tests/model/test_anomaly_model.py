import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from tests.pictures import disc, write_discs
from tests.scores import ROUNDING, assert_same_scores

from msde import AnomalyModel, MSDEDetector
from msde.embedding.encoder import EncoderSession
from msde.errors import DataError, ModelFileError, MSDEError
from msde.images import find_images
from msde.storage.bundle import read_bundle, write_bundle


@pytest.fixture(scope="module")
def adaptive(network, discs):
    return AnomalyModel(network).fit(discs / "train", discs / "abnormal")


@pytest.fixture(scope="module")
def transductive(network, discs):
    """A model of the other kind, and without heat maps."""
    return AnomalyModel(network, detector=MSDEDetector("transductive")).fit(discs / "train", heatmaps=False)


@pytest.fixture
def saved(model, tmp_path):
    model.save(tmp_path / "m.msde")
    return tmp_path / "m.msde"


def test_abnormal_images_score_higher_and_are_flagged(model, discs):
    normal, abnormal = model.score(discs / "normal"), model.score(discs / "abnormal")
    assert max(s.anomaly_score for s in normal) < min(s.anomaly_score for s in abnormal)
    assert all(s.flagged for s in abnormal)


def test_one_image_scores_as_in_its_batch(model, discs):
    together = model.score(discs / "normal")
    for expected in together[:4]:
        alone = model.score([expected.path])[0]
        assert alone.anomaly_score == pytest.approx(expected.anomaly_score, rel=1e-6)


def test_file_array_and_picture_score_the_same(model, discs):
    path = discs / "normal" / "003.png"
    with Image.open(path) as picture:
        array = np.asarray(picture)
        scores = [model.score([source])[0].anomaly_score for source in (path, str(path), array, picture)]
    assert scores == pytest.approx([scores[0]] * 4, rel=1e-6)


@pytest.mark.parametrize("kind", ["model", "adaptive", "transductive"])
def test_a_saved_model_scores_the_same(discs, tmp_path, kind, request):
    model = request.getfixturevalue(kind)
    model.save(tmp_path / "m.msde")
    loaded = AnomalyModel.load(tmp_path / "m.msde")
    loaded.save(tmp_path / "again.msde")
    np.testing.assert_equal(read_bundle(tmp_path / "again.msde"), read_bundle(tmp_path / "m.msde"))
    assert loaded.info() == model.info()
    # The joint shift and the whitening after it enlarge what rounding leaves.
    rounding = 1e-4 if kind == "transductive" else ROUNDING
    assert_same_scores(loaded.score(discs / "normal"), model.score(discs / "normal"), rounding)


@pytest.mark.slow
def test_scoring_a_saved_model_imports_nothing_heavy_and_a_fit_little(model, discs, tmp_path):
    model.save(tmp_path / "m.msde")
    heavy = "torch timm sklearn pandas matplotlib umap scipy.stats scipy"
    code = (
        "import sys; from msde import AnomalyModel\n"
        "model = AnomalyModel.load(sys.argv[1])\n"
        "model.score(sys.argv[2])\n"
        f"print(*(m for m in {heavy.split()} if m in sys.modules))\n"
        "AnomalyModel(model.encoder.backbones).fit(sys.argv[3])\n"
        f"print(*(m for m in {heavy.split()} if m in sys.modules))"
    )
    arguments = [tmp_path / "m.msde", discs / "normal" / "000.png", discs / "train"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["", "scipy"]


def test_unreadable_training_images_are_left_out_and_listed(network, tmp_path, rng):
    write_discs(tmp_path / "train", 5)
    (tmp_path / "train" / "bad.png").write_bytes(b"")
    model = AnomalyModel(network).fit(tmp_path / "train")
    assert len(model.unreadable_) == 1
    assert "bad.png" in model.unreadable_[0]
    assert model.info()["training"]["images"] == 5


def test_unlabelled_images_make_the_default_mode_adaptive(adaptive, discs):
    assert adaptive.info()["mode"] == "adaptive"
    together = adaptive.score(discs / "normal")
    assert adaptive.score([together[3].path])[0].anomaly_score == pytest.approx(together[3].anomaly_score, rel=1e-6)


def test_unusable_unlabelled_images_are_refused(network, discs, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"0 of 1 unlabelled images can be used .*bad\.png"):
        AnomalyModel(network).fit(discs / "train", [tmp_path / "bad.png"])


def test_too_few_usable_images_are_refused(network, rng):
    with pytest.raises(DataError, match="1 of 1 normal images can be used"):
        AnomalyModel(network).fit([disc(rng)])


def test_copies_are_left_out(network, rng):
    images = [disc(rng) for _ in range(5)]
    model = AnomalyModel(network).fit([*images, images[0], images[3]])
    assert model.n_copies_ == 2
    assert model.info()["training"]["images"] == 5


def test_copies_of_one_image_alone_are_refused(network, rng):
    with pytest.raises(DataError, match="1 of 6 normal images can be used, 5 are copies"):
        AnomalyModel(network).fit([disc(rng)] * 6)


def test_transductive_scores_have_no_p_values(transductive, discs):
    assert {(str(s.p_value), s.flagged) for s in transductive.score(discs / "normal")} == {("nan", None)}
    with pytest.raises(MSDEError, match="depend on the batch"):
        transductive.calibrate(discs / "normal")


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


def test_the_model_knows_its_training_images(model, discs):
    embedded = list(model.embed(discs / "train"))[:3] + list(model.embed(discs / "normal"))
    assert model.fingerprint_.count_known([image.digest for image in embedded]) == 3


def test_calibrating_changes_the_threshold_only(saved, discs, tmp_path):
    model = AnomalyModel.load(saved)
    before = model.score(discs / "abnormal")
    model.calibrate(discs / "normal", alpha=0.2).save(tmp_path / "here.msde")
    after = AnomalyModel.load(tmp_path / "here.msde")
    scores = [score.anomaly_score for score in after.score(discs / "abnormal")]
    assert scores == pytest.approx([score.anomaly_score for score in before], rel=ROUNDING)
    assert (after.calibration_.alpha, len(after.calibration_.scores)) == (0.2, 12)


@pytest.mark.parametrize("alpha", [5e-324, 1e-9, 1 - 2**-53])
def test_a_rate_without_a_rank_does_not_calibrate(saved, discs, alpha):
    with pytest.raises(ValueError, match="alpha must lie in"):
        AnomalyModel.load(saved).calibrate(discs / "normal", alpha)


def test_training_images_do_not_calibrate(model, discs):
    with pytest.raises(DataError, match=r"000\.png: took part in the fit \(40 of the calibration images"):
        model.calibrate(discs / "train")


def test_abnormal_images_are_a_drift(model, discs):
    assert not model.drift(model.score(discs / "normal")).found
    assert model.drift(model.score(discs / "abnormal")).found


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("scorer", "gaussian.mean", np.zeros(3)),
        ("scorer", "gaussian.mean", np.nan),
        ("scorer", "standardizer.before.mean", np.zeros(7, np.float32)),
        ("calibration", "scores", np.array([2.0, 1.0])),
        ("calibration", "scores", np.array([np.nan])),
    ],
)
def test_arrays_that_make_no_model_are_refused(model, tmp_path, part, name, value):
    model.save(tmp_path / "m.msde")
    config, parts = read_bundle(tmp_path / "m.msde")
    parts[part][name] = np.full_like(parts[part][name], value) if np.isscalar(value) else value
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


def test_the_pool_took_part_in_the_fit(adaptive, discs):
    assert adaptive.info()["training"] | {"fingerprint": ""} == {
        "images": 40,
        "unlabelled": 12,
        "fingerprint": "",
    }
    with pytest.raises(DataError, match="took part in the fit"):
        adaptive.calibrate(discs / "abnormal")


@pytest.mark.slow
def test_a_second_fit_on_the_same_images_does_no_inference(model, discs, tmp_path, monkeypatch):
    networks = model.encoder.backbones
    first = AnomalyModel(networks, cache=tmp_path / "cache").fit(discs / "train")
    first.save(tmp_path / "m.msde")
    expected = first.score(discs / "normal")
    assert_same_scores(model.score(discs / "normal"), expected)
    monkeypatch.setattr(EncoderSession, "embed", lambda *_: pytest.fail("inference"))
    second = AnomalyModel(networks, cache=tmp_path / "cache").fit(discs / "train")
    for part, arrays in first.localizer_.arrays().items():
        for name, values in arrays.items():
            np.testing.assert_allclose(second.localizer_.arrays()[part][name], values, rtol=1e-4, atol=1e-5)
    loaded = AnomalyModel.load(tmp_path / "m.msde", cache=tmp_path / "cache")
    for again in (second, loaded):
        assert_same_scores(again.score(discs / "normal"), expected)
    assert (second.cache.asked, second.cache.found) == (52, 52)


def test_the_cache_holds_no_names(network, discs, tmp_path):
    AnomalyModel(network, cache=tmp_path).fit(find_images([discs / "train"])[:12])
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(kept) == 24  # embeddings, and what heat maps are fitted on
    for path in kept:
        assert not any(image.name.encode() in path.read_bytes() for image in (discs / "train").iterdir())
        assert ".png" not in path.name


def test_heat_maps_survive_the_model_file(model, saved, discs):
    loaded = AnomalyModel.load(saved)
    (image,) = [path for path in (discs / "normal").iterdir() if path.name == "000.png"]
    np.testing.assert_allclose(loaded.explain(image).heat, model.explain(image).heat, atol=1e-5)
    assert loaded.info()["heatmaps"] is True
    assert (
        np.sum([array.nbytes for part in loaded.localizer_.arrays().values() for array in part.values()]) < 20_000_000
    )


def test_a_file_of_before_heat_maps_loads_without_them(transductive, tmp_path):
    transductive.save(tmp_path / "m.msde")
    config, parts = read_bundle(tmp_path / "m.msde")
    assert "localizer" not in config
    assert not [part for part in parts if part.startswith("localizer")]
    assert AnomalyModel.load(tmp_path / "m.msde").localizer_ is None


@pytest.mark.parametrize("key", ["input_size", "levels"])
def test_a_description_that_cannot_be_is_refused_in_one_line(saved, tmp_path, key):
    config, parts = read_bundle(saved)
    config["encoder"]["backbones"][0][key] = {"input_size": 10**400, "levels": ["level9"]}[key]
    write_bundle(tmp_path / "odd.msde", parts, config)
    with pytest.raises(ModelFileError, match=r"^[^\n]*odd\.msde[^\n]*$"):
        AnomalyModel.load(tmp_path / "odd.msde")


@pytest.mark.parametrize("change", ["missing", "shorter", "wider", "nan"])
def test_heat_maps_that_do_not_fit_are_found_at_loading(saved, tmp_path, change):
    config, parts = read_bundle(saved)
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
