import numpy as np
import pytest
from tests.heatmaps.maps import made_up, made_up_tokens
from tests.pictures import write_discs

from msde.benchmark.config import BackbonePlan, SetPlan
from msde.benchmark.data import Order, load, prepare
from msde.benchmark.detectors import Lesson, find_detector
from msde.method.metrics import auroc

MADE_UP = {"heat-places": made_up, "heat-modes": made_up_tokens, "heat-subspace": made_up_tokens}


def of_rows(seen):
    """Put maps in rows of half precision, and their shapes in spans, as a set is made ready."""
    shapes = [(*shape, *[0] * (3 - len(shape))) for shape in seen.shapes()]
    return seen.packed().astype(np.float16), np.array([shapes])


@pytest.mark.parametrize("name", MADE_UP)
def test_one_strange_corner_is_found(name, rng):
    make = MADE_UP[name]
    rows, spans = of_rows(make(60))
    score = find_detector(name).fit(Lesson(rows[:40], spans=spans))
    odd = make(20, seed=3)
    odd[0][:, :3, :3] += 4 * rng.normal(size=odd[0].shape[-1]).astype(np.float32)
    strange = of_rows(odd)[0]
    scores = score(np.concatenate([rows[40:], strange]))
    assert scores.shape == (40,)
    assert auroc(scores[:20], scores[20:]) > 0.9
    np.testing.assert_allclose(score(strange[:1]), scores[20:21], rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", MADE_UP)
def test_images_of_a_set_become_rows(name, tmp_path):
    write_discs(tmp_path / "discs/train/normal", 20)
    write_discs(tmp_path / "discs/test/normal", 6, seed=1)
    write_discs(tmp_path / "discs/test/abnormal", 6, seed=2, lesion=True)
    plan = SetPlan("discs", "discs", "disc", None, (), {})
    looks = ("plain:mean+std", "stretched:mean")
    backbone = BackbonePlan("efficientnet_lite0", ("efficientnet_lite0",), looks)
    detector = find_detector(name)
    prepared = prepare(Order(plan, backbone, detector.space, tmp_path, tmp_path / "rows"))
    assert prepared.sizes == (20, 6, 6)
    split, spans = load(prepared.path)
    assert spans.shape[0] == 2  # views
    score = detector.fit(Lesson(split.train.rows, spans=spans))
    assert auroc(score(split.normal.rows), score(split.abnormal.rows)) > 0.9
