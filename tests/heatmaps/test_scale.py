import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msde.heatmaps.scale import HeatScale


@pytest.fixture(scope="module")
def scale():
    rng = np.random.default_rng(0)
    return HeatScale.fit([rng.normal(size=(40, 56, 56)).astype(np.float32)])


def test_heat_is_how_rare_a_place_is_among_the_normals(scale):
    fresh = np.random.default_rng(1).normal(size=(40, 56, 56)).astype(np.float32)
    heat = scale.heat([fresh])
    assert heat.dtype == np.float32
    for level, share in ((0.25, 0.1), (0.5, 0.01), (0.75, 0.001)):
        assert abs((heat >= level).mean() / share - 1) < 0.25
    assert heat.min() >= 0
    assert heat.max() <= 1


@given(st.floats(-50, 50), st.floats(0, 50))
def test_more_evidence_never_means_less_heat(low, more):
    scale = HeatScale.fit([np.random.default_rng(0).normal(size=(5, 8, 8)).astype(np.float32)])
    heat = scale.heat([np.array([[[low]], [[low + more]]], np.float32)])
    assert (heat[0] <= heat[1] + 1e-6).all()


def test_kinds_of_evidence_on_scales_and_grids_of_their_own_count_alike(rng):
    kinds = [rng.normal(size=(20, 7, 7)).astype(np.float32), 1000 * rng.normal(size=(20, 14, 14)).astype(np.float32)]
    scale = HeatScale.fit(kinds)
    odd = [np.zeros((1, 7, 7), np.float32), np.zeros((1, 14, 14), np.float32)]
    calm = scale.heat(odd).max()
    for kind, size in ((0, 10), (1, 10_000)):
        hot = [maps.copy() for maps in odd]
        hot[kind][:] = size
        assert scale.heat(hot).min() > 0.7 > calm


def test_normals_that_are_all_alike_give_finite_heat():
    scale = HeatScale.fit([np.ones((5, 7, 7), np.float32)])
    assert np.isfinite(scale.heat([np.full((1, 7, 7), 2, np.float32)])).all()


@pytest.mark.parametrize(
    ("middle", "width", "ladder"),
    [
        (np.zeros(2), np.ones(2), np.zeros(96)),
        (np.zeros(2), np.ones(2), -np.arange(97)),
        (np.zeros(2), np.ones(2), np.full(97, np.nan)),
        (np.zeros(2), np.zeros(2), np.arange(97)),
        (np.zeros(2), np.ones(3), np.arange(97)),
    ],
)
def test_what_is_no_scale_is_refused(middle, width, ladder):
    with pytest.raises(ValueError, match="heat maps"):
        HeatScale(middle, width, ladder)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.02, 0.05, 0.2])
def test_few_new_normals_have_a_place_hotter_than_their_peak(share):
    exceeding = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        held_out, fresh = (rng.normal(size=(100, 6, 6)).astype(np.float32) for _ in range(2))
        scale = HeatScale.fit([held_out])
        peak, told = scale.peak(share)
        assert told == share
        heat = np.minimum(scale.heat([fresh]).max(axis=(1, 2)), 1)
        exceeding.append((heat > peak).mean())
    assert np.mean(exceeding) <= share + 0.01


def test_too_few_normals_tell_of_no_smaller_share_than_there_are():
    scale = HeatScale.fit([np.random.default_rng(0).normal(size=(9, 6, 6)).astype(np.float32)])
    peak, told = scale.peak(0.05)
    assert told == 0.1
    assert scale.peaks is not None
    assert peak == scale.peaks[-1]


def test_peaks_that_do_not_ascend_are_refused():
    with pytest.raises(ValueError, match="ascend"):
        HeatScale(*(np.array(values, np.float32) for values in ([0], [1], range(97), [2, 1])))


def test_places_that_do_not_count_are_no_part_of_the_scale(rng):
    maps = rng.normal(size=(40, 56, 56)).astype(np.float32)
    counted = np.ones(maps.shape, np.bool_)
    counted[:, :28] = False
    half = maps.copy()
    half[:, :28] = -1000
    expected, found = HeatScale.fit([maps[:, 28:]]), HeatScale.fit([half], counted)
    np.testing.assert_allclose(found.middle, expected.middle, rtol=1e-6)
    np.testing.assert_allclose(found.width, expected.width, rtol=1e-6)
    heat = found.heat([maps], counted)
    assert (heat[:, :28] == 0).all()
    assert abs((heat[:, 28:] >= 0.5).mean() / 0.01 - 1) < 0.25
