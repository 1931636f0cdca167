import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from msde.evaluation.pixel_metrics import PixelCounter


def counted(*images):
    counter = PixelCounter()
    for heat, mask in images:
        counter.add(heat, mask)
    return counter.figures()


@given(st.integers(0, 1000))
def test_pixels_count_as_in_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    heats = np.round(rng.uniform(size=(3, 6, 6)), 2)  # with ties
    masks = rng.uniform(size=(3, 6, 6)) < 0.3
    masks[0, 0, 0] = True
    figures = counted(*zip(heats, masks, strict=True))
    assert figures.auroc == pytest.approx(roc_auc_score(masks.ravel(), heats.ravel()))
    assert figures.ap == pytest.approx(average_precision_score(masks.ravel(), heats.ravel()))


def test_a_perfect_map_has_full_marks():
    mask = np.zeros((10, 10), bool)
    mask[2:4, 2:4] = mask[7:, 7:] = True
    figures = counted((mask.astype(float), mask), (np.zeros((5, 5)), None))
    assert (figures.auroc, figures.ap, figures.aupro) == pytest.approx((1, 1, 1))
    assert (figures.n_images, figures.n_regions) == (1, 2)


def test_each_region_counts_alike_for_aupro():
    """A region of 1 pixel found and one of 9 missed: half the overlap at once, the rest at a rate of 1."""
    mask = np.zeros((20, 20), bool)
    mask[0, 0] = mask[10:13, 10:13] = True
    heat = np.full((20, 20), 0.5)
    heat[0, 0], heat[10:13, 10:13] = 1, 0
    heat[~mask] = np.linspace(0.2, 0.8, (~mask).sum())
    figures = counted((heat, mask))
    assert figures.n_regions == 2
    assert figures.aupro == pytest.approx(0.5, abs=0.01)


def test_a_map_of_one_value_is_integrated_to_the_limit():
    """The only threshold lies at rates of 1 and 1; up to 0.3 the line to it has a mean of 0.15."""
    mask = np.zeros((4, 4), bool)
    mask[0] = True
    assert counted((np.full((4, 4), 0.5), mask)).aupro == pytest.approx(0.15)


def test_regions_that_touch_at_a_corner_are_one():
    assert counted((np.eye(4), np.eye(4, dtype=bool))).n_regions == 1


def test_without_anything_marked_there_are_no_figures():
    assert counted((np.zeros((3, 3)), None), (np.zeros((3, 3)), np.zeros((3, 3), bool))) is None
