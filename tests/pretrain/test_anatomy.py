import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from msde.pretrain.anatomy import anatomy_masks, equalise, otsu, phases

SIDE = 160


@pytest.mark.shared
def test_lungs_are_found_in_chest_x_rays(real):
    images = real("nih_cxr_pneumonia")
    masks = anatomy_masks(images)
    assert 0.08 < np.median(masks.mean(axis=(1, 2))) < 0.4
    left, right = masks[:, :, : SIDE // 2], masks[:, :, SIDE // 2 :]
    both = (left.mean(axis=(1, 2)) > 0.04) & (right.mean(axis=(1, 2)) > 0.04)
    assert both.mean() > 0.7
    for image, mask in zip(images, masks, strict=True):
        if mask.any():
            body = image[0, SIDE // 5 : -SIDE // 5, SIDE // 5 : -SIDE // 5]
            assert image[0][mask].mean() < body.mean()  # full of air


def on_black(images, smallest, largest):
    """Check the masks of something bright on a black background that covers such a share of its images."""
    masks = anatomy_masks(images)
    assert smallest < np.median(masks.mean(axis=(1, 2))) < largest
    brighter = [image[:, m].mean() > 2 * image[:, ~m].mean() for image, m in zip(images, masks, strict=True)]
    assert np.mean(brighter) > 0.7
    corners = masks[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert not corners.any()


def test_brains_are_found_on_their_black_background(heads):
    on_black(heads, 0.2, 0.75)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "smallest", "largest"), [("brain_mri_nickparvar", 0.2, 0.75), ("fundus_odir_glaucoma", 0.6, 0.85)]
)
def test_real_brains_and_retinas_are_found_too(real, name, smallest, largest):
    on_black(real(name), smallest, largest)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["lgg_flair_hemispheres", "busi_ultrasound"])
def test_other_kinds_have_an_anatomy_too(real, name):
    shares = anatomy_masks(real(name)).mean(axis=(1, 2))
    assert 0.2 < np.median(shares) < 0.9


def test_masks_are_those_of_bytes_too(heads):
    masks = anatomy_masks(heads[:3])
    same = anatomy_masks([np.round(image * 255).astype(np.uint8) for image in heads[:3]])
    assert (masks == same).mean() > 0.97


def test_the_phase_is_that_of_the_set():
    """A bright disc among dark ones does not turn the others round."""
    y, x = np.mgrid[:SIDE, :SIDE]
    inside = (y - 80) ** 2 + (x - 80) ** 2 < 40**2
    dark = np.stack([np.where(inside, 0.2, 0.8).astype(np.float32)] * 3)
    masks = anatomy_masks([dark, dark, 1 - dark])
    assert (masks[:2] == inside).mean() > 0.97
    assert not masks[2, 40:120, 40:120].all()


@pytest.mark.parametrize("gray", [0.0, 0.4, 1.0])
def test_no_anatomy_in_nothing(gray):
    assert not anatomy_masks([np.full((3, SIDE, SIDE), gray, np.float32)]).any()


def test_noise_is_no_anatomy(rng):
    masks = anatomy_masks([rng.random((3, SIDE, SIDE), np.float32) for _ in range(3)])
    assert masks.mean() < 0.5


def test_both_phases_of_a_picture_have_its_size(heads):
    for image in heads[:4]:
        dark, bright = phases(image)
        assert dark.shape == bright.shape == (SIDE, SIDE)


def test_otsu_separates_two_classes(rng):
    gray = np.concatenate([rng.normal(0.3, 0.03, 900), rng.normal(0.7, 0.03, 300)])
    assert 0.35 < otsu(gray) < 0.65


@given(arrays(np.float32, (20, 33), elements=st.floats(0, 1, width=32)))
def test_equalised_grays_stay_in_range_and_otsu_too(gray):
    equal = equalise(gray)
    assert equal.shape == gray.shape
    assert equal.min() >= 0
    assert equal.max() <= 1
    assert 0 <= otsu(gray) <= 1


def test_equalising_raises_a_weak_contrast_but_not_without_limit(rng):
    gray = 0.5 + 0.02 * rng.random((64, 64))
    assert 2 < equalise(gray).std() / gray.std() < 8
