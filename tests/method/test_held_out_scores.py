import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msde.method.frozen_shift import FrozenShift
from msde.method.gaussian import fit_ledoit_wolf
from msde.method.held_out_scores import HeldOut
from msde.method.scorers import InductiveScorer
from msde.method.standardizer import CompressingStandardizer

seeds = st.integers(0, 2**32 - 1)
SHAPES = [(60, 100), (60, 8), (24, 300)]  # fewer normals than dimensions, and more


def fit(rows, shifted):
    standardizer = CompressingStandardizer.fit(rows)
    normals = standardizer.apply(rows)
    if not shifted:
        return InductiveScorer(standardizer, fit_ledoit_wolf(normals))
    shift, displacement, axes = FrozenShift.fit(normals)
    return InductiveScorer(standardizer, fit_ledoit_wolf(displacement, axes), shift)


def normals_of_patients(rng, shape, size):
    groups = np.arange(shape[0]) // size
    patients = rng.normal(size=(groups[-1] + 1, shape[1]))[groups]
    return (patients * rng.uniform() + rng.normal(size=shape)) * rng.lognormal(size=shape[1]), groups


@pytest.mark.slow
@given(seeds, st.sampled_from(SHAPES), st.sampled_from([1, 2, 6]), st.booleans())
@settings(max_examples=12)
def test_scores_are_about_those_of_a_fit_without_the_group(seed, shape, size, shifted):
    rows, groups = normals_of_patients(np.random.default_rng(seed), shape, size)
    held_out = HeldOut(fit(rows, shifted), rows, groups)
    chosen = range(0, groups[-1] + 1, 3)
    without = np.concatenate([fit(rows[groups != g], shifted).score(rows[groups == g]) for g in chosen])
    off = np.log(held_out.without_own[np.isin(groups, chosen)] / without)
    assert abs(off.mean()) < 0.03
    assert off.std() < 0.02


@pytest.mark.slow
@given(seeds, st.booleans())
@settings(max_examples=8)
def test_neither_order_nor_numbers_of_groups_matter_without_a_path(seed, reversed_numbers):
    rng = np.random.default_rng(seed)
    rows, groups = normals_of_patients(rng, (40, 20), 2)
    order = rng.permutation(len(rows))
    numbers = groups.max() - groups if reversed_numbers else groups
    scorer = fit(rows, shifted=False)
    np.testing.assert_allclose(
        HeldOut(scorer, rows[order], numbers[order]).without_own, HeldOut(scorer, rows, groups).without_own[order]
    )


@pytest.mark.slow
@pytest.mark.parametrize(("n", "d", "size"), [(80, 200, 1), (80, 200, 8), (150, 12, 5)])
def test_held_out_normals_score_as_new_ones_do(rng, n, d, size):
    held_out, new = [], []
    for _ in range(12):
        rows, groups = normals_of_patients(rng, (2 * n, d), size)
        scorer = fit(rows[:n], shifted=True)
        held_out.append(np.log(HeldOut(scorer, rows[:n], groups[:n]).scores).mean())
        new.append(np.log(scorer.score(rows[n:])))
    error = np.std([one.mean() for one in new]) * np.sqrt(2 / len(new))
    assert abs(np.mean(held_out) - np.mean(new)) < 4 * error
    assert abs(np.mean(held_out) - np.mean(new)) < 0.5 * np.std(new)


@pytest.mark.parametrize(("n", "groups"), [(2, [0, 1]), (4, [0, 0, 0, 0])])
def test_too_few_to_hold_out_have_no_scores(rng, n, groups):
    rows = rng.normal(size=(n, 5))
    assert not len(HeldOut(fit(rows, shifted=True), rows, np.array(groups)).scores)


@pytest.mark.parametrize("n", [3, 4, 5, 9])
@pytest.mark.parametrize("shifted", [False, True])
def test_few_or_identical_normals_have_finite_scores(rng, n, shifted):
    for rows in (rng.normal(size=(n, 5)), np.ones((n, 5)), np.eye(n, 5)):
        scores = HeldOut(fit(rows, shifted), rows, np.arange(n)).scores
        assert np.isfinite(scores).all()
        assert (scores >= 0).all()


@pytest.mark.slow
def test_of_many_normals_those_outside_the_path_are_held_out_too(rng):
    rows, groups = normals_of_patients(rng, (700, 40), 2)
    held_out = HeldOut(fit(rows, shifted=True), rows, groups)
    chosen = [0, 100, 349]
    without = np.concatenate([fit(rows[groups != g], True).score(rows[groups == g]) for g in chosen])
    np.testing.assert_allclose(held_out.without_own[np.isin(groups, chosen)], without, rtol=0.05)
