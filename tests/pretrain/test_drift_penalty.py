import numpy as np
import pytest
from tests.requirements import need

from msde.pretrain.drift_penalty import DriftPenalty

need("torch")
import torch  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture
def rows(rng):
    return (rng.normal(size=(300, 6)) * [1, 2, 3, 0.1, 1e-3, 5] + 4).astype(np.float32)


def fit(rows):
    return DriftPenalty.fit(rows, np.arange(200), torch.device("cpu"))


def test_normals_have_a_distance_of_one_and_no_drift(rows):
    anchor, embeddings = fit(rows), torch.from_numpy(rows)
    assert float(anchor.distance(embeddings[200:]).mean()) == pytest.approx(1, abs=0.2)
    assert float(anchor.drift(embeddings, torch.arange(300))) < 1e-6


def test_a_feature_counts_in_its_own_deviations(rows):
    anchor = fit(rows)
    for feature, deviation in enumerate(rows[:200].std(axis=0)):
        moved = rows[:1].copy()
        moved[0, feature] += deviation
        assert float(anchor.drift(torch.from_numpy(moved), torch.zeros(1, dtype=torch.int64))) == pytest.approx(
            1 / 6, rel=0.2
        )


def test_few_normals_of_many_features_are_measured_too(rng):
    rows = rng.normal(size=(12, 40)).astype(np.float32)
    distance = DriftPenalty.fit(rows, np.arange(10), torch.device("cpu")).distance(torch.from_numpy(rows))
    assert torch.isfinite(distance).all()
