import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from msde.embedding.feature_spec import POOLINGS, VIEWS, FeatureSpec, stretched
from msde.errors import BackboneError

batches = arrays(np.float32, (2, 3, 6, 6), elements=st.floats(0, 1, width=32))


@pytest.mark.parametrize("text", ["plain:own", "plain:mean+std", "plain+mirrored:gem:level2+level4", "stretched:max"])
def test_a_look_is_written_as_it_is_read(text):
    assert str(FeatureSpec.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("plain", "is not VIEW:POOLING"),
        ("a:b:c:d", "is not VIEW:POOLING"),
        ("upside:mean", "unknown 'upside'; known are plain, mirrored, stretched"),
        ("plain:median", "unknown 'median'"),
        ("plain:", "unknown ''"),
        (":mean", "unknown ''"),
        ("plain:own+mean", "cannot be mixed"),
        ("plain:own:level1", "cannot be mixed"),
    ],
)
def test_what_is_no_look_is_refused(text, reason):
    with pytest.raises(BackboneError, match="look") as caught:
        FeatureSpec.parse(text)
    assert reason in str(caught.value)


@pytest.mark.parametrize("view", VIEWS)
@given(batch=batches)
def test_a_view_keeps_shape_type_and_range_and_treats_each_image_alone(view, batch):
    seen = VIEWS[view](batch)
    assert seen.shape == batch.shape
    assert seen.dtype == np.float32
    assert seen.min() >= 0
    assert seen.max() <= 1
    np.testing.assert_array_equal(VIEWS[view](batch[:1])[0], seen[0])


@given(batches, st.floats(0.25, 1), st.floats(0, 0.5))
def test_stretching_undoes_a_loss_of_contrast(batch, gain, offset):
    batch[..., :2, :2] = 0
    batch[..., 2:4, 2:4] = 1
    faded = (gain * batch + offset).astype(np.float32)
    np.testing.assert_allclose(stretched(faded), stretched(batch), atol=1e-4)


@pytest.mark.parametrize("name", POOLINGS)
def test_poolings_of_a_constant_map(name):
    pooled = POOLINGS[name](np.full((2, 4, 3, 3), 0.5, np.float32))
    assert pooled.shape == (2, 4)
    np.testing.assert_allclose(pooled, 0 if name == "std" else 0.5, atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 1, 16, 16), (2, 3, 16, 16), (1, 1, 9, 9)])
def test_gray_and_coloured_images_are_stretched_by_sorted_values(rng, shape):
    batch = np.broadcast_to(rng.random(shape).astype(np.float32), (shape[0], 3, *shape[2:]))
    made = VIEWS["stretched"](batch)
    for image, found in zip(batch, made, strict=True):
        values = np.sort(image[:, ::2, ::2].ravel())
        low, high = (values[round(quantile * (len(values) - 1))] for quantile in (0.01, 0.99))
        np.testing.assert_array_equal(found, np.clip((image - low) / (high - low), 0, 1))
