from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from msde.backbones import load_backbone
from msde.backbones.session import EmbeddingSession
from msde.embedding import embed_images
from tests.pictures import disc


@pytest.fixture(scope="module")
def session():
    return EmbeddingSession(load_backbone("efficientnet_lite0"))


def test_embeddings_do_not_depend_on_workers_batches_or_order(session, rng):
    images = [disc(rng) for _ in range(21)]
    alone = np.stack([next(embed_images(session, [image])).embedding for image in images])
    for workers in (1, 3):
        together = np.stack([result.embedding for result in embed_images(session, images, workers)])
        np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)


def test_a_bad_image_has_its_error_and_the_others_their_embeddings(session, rng, tmp_path):
    Image.fromarray(disc(rng)).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no image")
    results = list(embed_images(session, [tmp_path / "bad.png", tmp_path / "good.png"]))
    assert results[0].embedding is None
    assert "bad.png" in results[0].error
    assert results[1].error is None
    assert np.all(np.isfinite(results[1].embedding))


def test_the_digest_is_that_of_the_pixels(session, rng, tmp_path):
    image = disc(rng)
    Image.fromarray(image).save(tmp_path / "a.png")
    from_file, from_array, other = embed_images(session, [tmp_path / "a.png", image, disc(rng)])
    assert from_file.digest == from_array.digest != other.digest


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_embedding_that_is_not_finite_is_that_images_error(session, rng, value):
    bias = session.backbone.weights["_blocks.15._bn2.bias"].copy()
    bias[7] = value
    damaged = replace(session.backbone, weights=session.backbone.weights | {"_blocks.15._bn2.bias": bias})
    (result,) = embed_images(EmbeddingSession(damaged), [disc(rng)])
    assert result.embedding is None
    assert "0: the backbone gives no finite embedding" in result.error


def test_images_are_read_no_faster_than_they_are_embedded(session, rng):
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield disc(rng)

    results = embed_images(session, endless(), workers=1)
    for _ in range(3):
        next(results)
    results.close()
    assert taken <= 40


def test_no_images_give_no_embeddings(session):
    assert list(embed_images(session, [])) == []
