import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from msde import GaussianDensity, MeanShiftEnhancer


@pytest.mark.slow
@given(st.integers(0, 2**32 - 1), st.integers(2, 80), st.sampled_from(["density", "published", "uniform"]))
@settings(max_examples=25)
def test_fit_then_transform_is_fit_transform(seed, n, weighting):
    rows = np.random.default_rng(seed).normal(size=(n, 4))
    enhancer = MeanShiftEnhancer(n_neighbors=12, weighting=weighting)
    np.testing.assert_allclose(clone(enhancer).fit(rows).transform(rows), enhancer.fit_transform(rows), atol=1e-9)


def test_the_fitted_names_have_their_shapes(rng):
    enhancer = MeanShiftEnhancer(max_iter=5, tol=0).fit(rng.normal(size=(70, 4)))
    assert enhancer.density_weights_.shape == (70,)
    assert enhancer.displacement_.shape == (70,)
    assert enhancer.n_iter_ == 5


def test_float32_is_kept(rng):
    assert MeanShiftEnhancer().fit_transform(rng.normal(size=(70, 4)).astype(np.float32)).dtype == np.float32


def test_frames_keep_their_column_names(rng):
    frame = pd.DataFrame(rng.normal(size=(70, 3)), columns=["a", "b", "c"])
    shifted = MeanShiftEnhancer().set_output(transform="pandas").fit_transform(frame)
    assert list(shifted.columns) == ["a", "b", "c"]


def test_it_works_in_a_pipeline(rng):
    pipeline = make_pipeline(StandardScaler(), MeanShiftEnhancer(n_neighbors=10), GaussianDensity())
    assert pipeline.fit(rng.normal(size=(70, 3))).score_samples(rng.normal(size=(5, 3))).shape == (5,)


@pytest.mark.parametrize(
    ("name", "value"),
    [("n_neighbors", 0), ("learning_rate", 1.5), ("max_iter", -1), ("tol", -1), ("max_references", 0)],
)
def test_a_setting_out_of_range_is_named(name, value):
    with pytest.raises(ValueError, match=name):
        MeanShiftEnhancer(**{name: value}).fit(np.eye(5))


def test_memory_mapped_rows_are_read_in_place(rng, tmp_path):
    rows = rng.normal(size=(200, 6)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    shifted = MeanShiftEnhancer(n_neighbors=15).fit_transform(mapped)
    assert type(shifted) is np.ndarray
    np.testing.assert_allclose(shifted, MeanShiftEnhancer(n_neighbors=15).fit_transform(rows), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(mapped, rows)


def test_a_small_model_keeps_some_rows_and_shifts_all_alike(rng):
    rows = rng.normal(size=(200, 4))
    small, whole = MeanShiftEnhancer(max_references=50), MeanShiftEnhancer()
    np.testing.assert_allclose(small.fit_transform(rows), whole.fit_transform(rows))
    assert [len(layer) for layer in small.trajectory_.positions] == [50] * small.n_iter_
    assert small.transform(rows[:7]).shape == (7, 4)
    assert small.density_weights_.shape == (200,)
