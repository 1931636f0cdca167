import numpy as np
import pytest
from PIL import Image

from msde import AnomalyModel
from msde.errors import DataError
from msde.images import find_images
from msde.model.nearest_labelled import NearestLabelled


@pytest.fixture(scope="module")
def images(discs):
    return sorted((discs / "abnormal").iterdir())


@pytest.fixture(scope="module")
def labelled(network, discs, images):
    """A model that learnt from the first six of the abnormal images."""
    kinds = {str(path): "spot" if number < 3 else "square" for number, path in enumerate(images[:5])}
    return AnomalyModel(network).fit(discs / "train", abnormal=images[:6], kinds=kinds, heatmaps=False)


@pytest.fixture(scope="module")
def compared(labelled, discs):
    return NearestLabelled.embed(labelled, find_images([discs / "abnormal"]))


def embedded(model, path):
    return next(iter(model.embed(path)))


def test_only_images_of_the_fit_are_compared_with(compared, images):
    assert compared.sources == images[:6]
    assert compared.others == list(map(str, images[6:]))
    assert not compared.errors
    assert compared.labels.fingerprint.count_known(compared.digests) == 6


def test_a_labelled_image_has_its_own_row_and_kind(compared):
    assert sorted(compared.rows) == list(range(6))
    assert [compared.kind(number) for number in range(6)] == ["spot"] * 3 + ["square"] * 2 + [None]


def test_the_nearest_to_a_slightly_changed_label_is_that_one(labelled, compared, images, tmp_path, rng):
    with Image.open(images[4]) as image:
        pixels = np.asarray(image).astype(int) + rng.integers(-1, 2, size=(64, 64))
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(tmp_path / "changed.png")
    assert compared.nearest(embedded(labelled, tmp_path / "changed.png")) == (4,)


def test_an_image_is_not_compared_with_itself(labelled, compared, images):
    (nearest,) = compared.nearest(embedded(labelled, images[2]))
    assert nearest != 2


def test_the_nearest_is_the_one_that_the_evidence_names(labelled, compared, images):
    for path in images[6:]:
        (score,) = labelled.score([path])
        kind = compared.kind(compared.nearest(embedded(labelled, path))[0])
        if str(score.evidence).startswith("like"):
            assert score.evidence == "like the abnormal images you labelled" + (f", {kind}" if kind else "")


def test_what_cannot_be_read_is_named_and_copies_count_once(labelled, images, tmp_path):
    for name in ("a.png", "copy.png"):
        (tmp_path / name).write_bytes(images[0].read_bytes())
    (tmp_path / "bad.png").write_bytes(b"no image")
    found = NearestLabelled.embed(labelled, find_images([tmp_path]))
    assert [source.name for source in found.sources] == ["a.png"]
    assert ["bad.png" in error for error in found.errors] == [True]
    assert found.nearest(embedded(labelled, images[0])) == ()


def test_an_image_that_cannot_be_read_has_no_nearest(labelled, compared, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    assert compared.nearest(embedded(labelled, tmp_path / "bad.png")) == ()


def test_none_of_the_fit_is_one_line(labelled, images):
    with pytest.raises(DataError, match=f"learnt from none of the labelled images.*{images[7].name} is not among"):
        NearestLabelled.embed(labelled, images[7:])


def test_a_model_without_labels_is_refused(plain_model, images):
    with pytest.raises(DataError, match="learnt from no labelled abnormal images"):
        NearestLabelled.embed(plain_model, images)
