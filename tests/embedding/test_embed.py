import subprocess
import sys
from collections.abc import Generator
from dataclasses import replace
from typing import cast

import numpy as np
import pytest
from PIL import Image
from tests.pictures import SIDE, disc
from tests.scores import assert_same_rows

from msde.backbones import load_backbone
from msde.backbones.input_size import with_input_size
from msde.embedding.cache import EmbeddingCache
from msde.embedding.embed import Embedded, embed_images
from msde.embedding.encoder import Encoder, EncoderSession


@pytest.fixture(scope="module")
def session():
    return EncoderSession(Encoder((with_input_size(load_backbone(), SIDE),)))


def with_weights(session, weights):
    (backbone,) = session.encoder.backbones
    return EncoderSession(Encoder((replace(backbone, weights=backbone.weights | weights),)))


def test_embeddings_do_not_depend_on_workers_batches_or_order(session, rng):
    images = [disc(rng) for _ in range(21)]
    alone = np.vstack([stacked(embed_images(session, [image])) for image in images])
    for workers in (1, 3):
        assert_same_rows(stacked(embed_images(session, images, workers)), alone)


def test_a_bad_image_has_its_error_and_the_others_their_embeddings(session, rng, tmp_path):
    Image.fromarray(disc(rng)).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no image")
    results = list(embed_images(session, [tmp_path / "bad.png", tmp_path / "good.png"]))
    assert results[0].embedding is None
    assert "bad.png" in str(results[0].error)
    assert results[1].error is None
    assert np.all(np.isfinite(stacked(results[1:])))


def test_the_digest_is_that_of_the_pixels(session, rng, tmp_path):
    image = disc(rng)
    Image.fromarray(image).save(tmp_path / "a.png")
    from_file, from_array, other = embed_images(session, [tmp_path / "a.png", image, disc(rng)])
    assert from_file.digest == from_array.digest != other.digest


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_embedding_that_is_not_finite_is_that_images_error(session, rng, value):
    bias = session.encoder.backbones[0].weights["_blocks.15._bn2.bias"].copy()
    bias[7] = value
    damaged = with_weights(session, {"_blocks.15._bn2.bias": bias})
    (result,) = embed_images(damaged, [disc(rng)])
    assert result.embedding is None
    assert "0: the backbone gives no finite embedding" in str(result.error)


def test_images_are_read_no_faster_than_they_are_embedded(session, rng):
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield disc(rng)

    results = cast(Generator[Embedded], embed_images(session, endless(), workers=1))
    for _ in range(3):
        next(results)
    results.close()
    assert taken <= 40


def test_no_images_give_no_embeddings(session):
    assert list(embed_images(session, [])) == []


class Noting(EncoderSession):
    """Notes the sizes of the batches, and finds no memory for those larger than `most`."""

    def __init__(self, encoder, most=1000):
        super().__init__(encoder)
        self.most, self.sizes = most, []

    def embed(self, inputs):
        if len(inputs[0]) > self.most:
            np.empty(2**60, np.uint8)
        self.sizes.append(len(inputs[0]))
        return super().embed(inputs)


def stacked(results):
    return np.stack([result.embedding for result in results])


def refuse(line):
    raise AssertionError(line)


def test_the_cache_changes_nothing_and_spares_the_network(session, rng, tmp_path):
    images = [disc(rng) for _ in range(19)]
    images[5] = np.full((9, 9), 7.0)
    plain = list(embed_images(session, images))
    cache, noting = EmbeddingCache(tmp_path, warn=refuse), Noting(session.encoder)
    list(embed_images(session, images[3:15:2], cache=cache))
    for seen in (13, 13):  # the network's part: what the first call left, then nothing
        results = list(embed_images(noting, images, cache=cache))
        assert sum(noting.sizes) == seen
        assert [result.digest for result in results] == [result.digest for result in plain]
        assert [result.error for result in results] == [result.error for result in plain]
        assert_same_rows(*(stacked(image for image in some if image.error is None) for some in (results, plain)))
    assert (cache.asked, cache.found) == (5 + 18 + 18, 5 + 18)


def test_another_network_does_not_get_the_embeddings_of_the_first(session, rng, tmp_path):
    image, cache = disc(rng), EmbeddingCache(tmp_path, warn=refuse)
    bias = session.encoder.backbones[0].weights["_blocks.15._bn2.bias"] + 1
    other = with_weights(session, {"_blocks.15._bn2.bias": bias})
    (first,) = embed_images(session, [image], cache=cache)
    (second,) = embed_images(other, [image], cache=cache)
    assert cache.found == 0
    assert not np.array_equal(stacked([first]), stacked([second]))


def test_an_embedding_that_is_not_finite_is_not_kept(session, rng, tmp_path):
    bias = np.full_like(session.encoder.backbones[0].weights["_blocks.15._bn2.bias"], np.nan)
    damaged = with_weights(session, {"_blocks.15._bn2.bias": bias})
    (result,) = embed_images(damaged, [disc(rng)], cache=EmbeddingCache(tmp_path, warn=refuse))
    assert result.embedding is None
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_used_changes_nothing_but_warns_once(session, rng, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    images = [disc(rng) for _ in range(11)]
    warnings: list[str] = []
    cache = EmbeddingCache(tmp_path / "file", warn=warnings.append)
    with_cache = stacked(embed_images(session, images, cache=cache))
    assert_same_rows(with_cache, stacked(embed_images(session, images)))
    assert len(warnings) == 1


@pytest.mark.parametrize("most", [5, 1])
def test_a_batch_too_large_for_the_memory_is_halved(session, rng, tmp_path, most):
    images = [disc(rng) for _ in range(11)]
    noting, cache = Noting(session.encoder, most), EmbeddingCache(tmp_path, warn=refuse)
    results = list(embed_images(noting, images, cache=cache))
    assert sum(noting.sizes) == cache.asked == 11
    assert_same_rows(stacked(results), stacked(embed_images(session, images)))


def test_no_memory_for_a_single_image_is_that_images_error(session, rng):
    first, second = embed_images(Noting(session.encoder, 0), [disc(rng), disc(rng)])
    assert first.error.startswith("0: out of memory even for this image alone")
    assert second.error.startswith("1: out of memory even for this image alone")
    assert first.embedding is None


def test_other_errors_of_the_network_are_not_taken_for_lack_of_memory(session, rng):
    class Broken(EncoderSession):
        def embed(self, inputs):
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        list(embed_images(Broken(session.encoder), [disc(rng)]))


# Lets the address space grow step by step, until all images can be embedded, and tells the sizes of the batches then.
LITTLE_MEMORY = """
import resource, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from msde.backbones import load_backbone
from tests.embedding.test_embed import Encoder, Noting, disc, embed_images, stacked
session = Noting(Encoder((load_backbone(),)))
rng = np.random.default_rng(0)
images = [disc(rng) for _ in range(8)]
alone = np.concatenate([stacked(embed_images(session, [image], 1)) for image in images])
held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
for megabytes in range(4, 400, 4):
    resource.setrlimit(resource.RLIMIT_AS, (held + megabytes * 2**20, resource.RLIM_INFINITY))
    session.sizes.clear()
    results = list(embed_images(session, images, 1))
    if all(result.error is None for result in results):
        break
assert np.allclose(stacked(results), alone, rtol=1e-6, atol=1e-6)
print(*session.sizes)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_real_lack_of_memory_halves_the_batch(pytestconfig):
    done = subprocess.run(
        [sys.executable, "-c", LITTLE_MEMORY, pytestconfig.rootpath], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert min(int(size) for size in done.stdout.split()) < 8
