import numpy as np
import pytest

from msde.pretrain.self_validation import SelfValidation
from msde.pretrain.tasks import TASKS


def blurred_away(images):
    return images.mean(axis=(2, 3))


def small_copy(images):
    return images[:, 0, ::4, ::4].reshape(len(images), -1)


def test_quality_is_an_auroc_and_always_the_same(normals):
    first, second = (SelfValidation(normals, "anatpaste", 0) for _ in range(2))
    assert 0 <= first.of(small_copy) <= 1
    assert first.of(small_copy) == second.of(small_copy)
    assert SelfValidation(normals, "anatpaste", 1).of(small_copy) != first.of(small_copy)


def test_embeddings_that_show_the_place_are_better_than_those_that_hide_it(normals):
    quality = SelfValidation(normals, "anatpaste", 0)
    assert quality.of(small_copy) > quality.of(lambda images: np.tile(np.sort(blurred_away(images)), 3)) - 0.2


@pytest.mark.parametrize("task", TASKS)
def test_the_anomalies_are_of_other_kinds(normals, task):
    assert len(SelfValidation(normals, task, 0).anomalies) == 3 - len(TASKS[task])
