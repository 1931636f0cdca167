import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from msde.heatmaps import colours
from msde.heatmaps.colours import LEAST_SHOWN, ColourScale, layer, marked, overlaid, with_bar


def test_calm_places_show_the_picture_alone(rng):
    pixels = rng.uniform(size=(9, 7)).astype(np.float32)
    overlay = overlaid(pixels, np.full((9, 7), LEAST_SHOWN, np.float32))
    assert overlay.shape == (9, 7, 3)
    assert overlay.dtype == np.uint8
    np.testing.assert_array_equal(overlay, np.rint(pixels * 255)[..., None].repeat(3, axis=2))


@given(st.floats(0, 1), st.floats(0, 1))
def test_any_heat_over_any_gray_is_a_colour(gray, heat):
    overlay = overlaid(np.full((1, 1), gray, np.float32), np.full((1, 1), heat, np.float32))
    assert overlay.shape == (1, 1, 3)


def test_more_heat_is_lighter_on_black():
    heat = np.linspace(0, 1, 101, dtype=np.float32)[None]
    luminance = overlaid(np.zeros_like(heat), heat)[0] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) >= -1.5).all()  # to rounding
    assert luminance[-1] > 120


def test_the_picture_given_is_not_changed():
    pixels = np.full((4, 4, 3), 0.5, np.float32)
    overlaid(pixels, np.ones((4, 4), np.float32))
    assert (pixels == 0.5).all()


def test_the_layer_over_a_picture_is_the_overlay(rng):
    pixels = rng.uniform(size=(9, 7)).astype(np.float32)
    heat = rng.uniform(size=(9, 7)).astype(np.float32)
    colours, alpha = np.split(layer(heat).astype(float), [3], axis=2)
    picture = 255 * pixels[..., None]
    laid = picture + 0.6 * alpha / 255 * (colours - picture)
    np.testing.assert_allclose(laid, overlaid(pixels, heat), atol=1.1)
    assert (layer(np.zeros((2, 2), np.float32))[..., 3] == 0).all()


def test_the_bar_leaves_the_overlay_as_it_is(rng):
    for height, width in ((8, 8), (300, 90), (2000, 10)):
        overlay = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        with_it = with_bar(overlay)
        np.testing.assert_array_equal(with_it[:height, :width], overlay)
        assert with_it[:, width:].max() > 200


def test_the_mark_is_seen_on_dark_and_light_and_leaves_the_rest():
    for shade in (0, 255):
        picture = np.full((256, 256, 3), shade, np.uint8)
        seen = marked(picture)
        assert (seen[:220] == shade).all()
        assert seen[220:].min() < 50
        assert seen[220:].max() > 200
    assert marked(np.zeros((8, 8, 3), np.uint8)).shape == (8, 8, 3)


@given(st.floats(0.5, 1), st.floats(0, 1))
def test_colour_begins_above_the_onset(onset, heat):
    shown = layer(np.full((1, 1), heat, np.float32), onset)[0, 0, 3] > 0
    if np.float32(heat) <= np.float32(onset):
        assert not shown
        assert (overlaid(np.zeros((1, 1), np.float32), np.full((1, 1), heat, np.float32), onset) == 0).all()


def test_images_that_stand_out_show_colour_early_and_others_late():
    scale = ColourScale(0.8, 0.05, 0.025)
    assert [scale.begins(p_value) for p_value in (0.01, 0.025, 0.03, 1, np.nan)] == [0.5, 0.5, 0.8, 0.8, 0.8]
    assert ColourScale().begins(1.0) == ColourScale().begins(np.nan) == 0.5


def test_the_legend_says_how_calm_normal_images_are():
    begins = "Colour begins where a place is as odd as 1 in 100 of the area of normal images"
    assert ColourScale().legend() == f"{begins}, and is full at 1 in 10,000"
    assert ColourScale(0.75, 0.05, 0.025).legend() == (
        f"{begins} in images with a p-value of at most 0.025, at 1 in 1,000 in others, and is full at 1 in 10,000;"
        " at most 5.0% of normal images show any"
    )
    assert "0.025, nowhere in others" in ColourScale(1.0, 0.05, 0.025).legend()


def test_the_bar_is_dark_where_no_place_is_coloured():
    overlay = np.zeros((300, 40, 3), np.uint8)
    early, late = (with_bar(overlay, onset, 0.05) for onset in (0.5, 0.9))
    assert early.shape == late.shape
    assert (early > 60).sum() > (late > 60).sum()


def test_a_large_picture_is_drawn_as_its_rows_are(rng, monkeypatch):
    pixels, heat = rng.random((50, 40, 3), np.float32), rng.random((50, 40), np.float32)
    whole = overlaid(pixels, heat)
    monkeypatch.setattr(colours, "_BAND", 7 * 40)
    np.testing.assert_array_equal(overlaid(pixels, heat), whole)
