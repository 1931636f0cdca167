import numpy as np
import pytest
from PIL import Image
from tests.pictures import disc
from tests.scores import assert_same_scores

from msde import AnomalyModel
from msde.errors import ImageError, MSDEError
from msde.images import ImageRule, find_images
from msde.model.explanation import explain

LESION = np.s_[24:29, 24:29]  # within the square of `tests.pictures.disc`


def test_the_lesion_is_hot_and_the_rest_is_less_so(model, discs):
    for path in find_images([discs / "abnormal"])[:8]:
        explanation = model.explain(path)
        assert_same_scores([explanation.score], model.score([path]))
        assert explanation.heat.shape == (64, 64)
        assert explanation.heat.dtype == np.float32
        assert explanation.heat[LESION].min() > 0.75
        assert np.median(explanation.heat) < explanation.heat[LESION].min()
        assert explanation.overlay.shape == (64, 64, 3)
        assert (explanation.overlay[LESION].std(axis=2) > 10).all()  # in colour


def test_normal_images_look_calm(model, discs):
    heat = np.stack([explanation.heat for _, explanation in model.explain_iter(discs / "normal")])
    assert (heat >= 0.5).mean() < 0.05


def test_many_images_are_scored_as_without_heat_maps(model, discs, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    images = [*find_images([discs / "abnormal"]), tmp_path / "bad.png"]
    ticks = []
    pairs = list(model.explain_iter(images, tick=lambda: ticks.append(1)))
    assert len(ticks) == 13
    assert_same_scores([score for score, _ in pairs], model.score(images))
    assert [explanation is None for _, explanation in pairs] == [False] * 12 + [True]


def test_the_resolution_is_the_images_own(model, rng):
    picture = disc(rng, lesion=True, side=160)[:, :100]
    explanation = model.explain(Image.fromarray(picture).convert("RGB"))
    assert explanation.heat.shape == picture.shape
    assert explanation.overlay.shape == (*picture.shape, 3)


@pytest.mark.slow
def test_black_bars_are_cut_off_again(model, discs, rng):
    model = AnomalyModel(model.encoder.backbones, rule=ImageRule(aspect="letterbox")).fit(discs / "train")
    picture = np.full((64, 128), 20, np.uint8)
    picture[:, :64] = disc(rng, lesion=True)
    heat = model.explain(picture).heat
    assert heat.shape == (64, 128)
    assert heat[LESION].mean() > 0.75


def test_an_image_that_cannot_be_used_is_named(model, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"bad\.png"):
        model.explain(tmp_path / "bad.png")


def test_parts_of_a_volume_have_heat_maps_and_the_volume_has_none(model, rng, tmp_path):
    pages = [Image.fromarray(disc(rng, lesion=number == 1)) for number in range(3)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    pairs = list(model.explain_iter(tmp_path / "stack.tif"))
    assert [explanation is None for _, explanation in pairs] == [False] * 3 + [True]
    assert pairs[-1][0].is_volume
    assert pairs[1][1].heat.max() > pairs[0][1].heat.max()
    with pytest.raises(ImageError, match=r"holds 3 images; explain one of them, such as .*stack\.tif#"):
        model.explain(tmp_path / "stack.tif")
    np.testing.assert_allclose(model.explain(pairs[1][0].path).heat, pairs[1][1].heat, atol=1e-5)


def test_a_model_without_heat_maps_says_so(plain_model):
    assert plain_model.localizer_ is None
    for asked in (
        lambda: plain_model.explain(np.zeros((9, 9))),
        lambda: plain_model.explain_iter([np.zeros((9, 9))]),
    ):
        with pytest.raises(MSDEError, match="the model has no heat maps"):
            asked()


def test_too_few_normals_give_no_heat_maps(network, discs):
    assert AnomalyModel(network).fit(find_images([discs / "train"])[:9]).localizer_ is None


def test_an_image_that_vanishes_has_its_error(model, discs, tmp_path):
    path = tmp_path / "gone.png"
    path.write_bytes(find_images([discs / "normal"])[0].read_bytes())
    scores = list(model.score_embedded(model.embed(path, model.fitted.heat_maps())))
    path.unlink()
    ((score, explanation),) = explain(scores, model.rule, model.colours, lambda explained: explained)
    assert explanation is None
    assert "gone.png" in str(score.error)
    assert np.isnan(score.anomaly_score)
