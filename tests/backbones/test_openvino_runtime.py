from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tests.requirements import need
from tests.scores import assert_same_rows

from msde.backbones import Backbone
from msde.backbones.quantize import with_int8_weights
from msde.backbones.session import EmbeddingSession
from msde.embedding.cache import EmbeddingCache
from msde.embedding.embed import embed_images
from msde.embedding.encoder import Encoder, EncoderSession
from msde.errors import BackboneError

need("openvino")


@pytest.fixture(scope="module")
def session(network: Backbone) -> EmbeddingSession:
    return EmbeddingSession(network, 1, "openvino")


@pytest.fixture(scope="module")
def images(network: Backbone) -> np.ndarray:
    return np.random.default_rng(0).random((11, 3, network.input_size, network.input_size), np.float32)


def test_the_embeddings_are_those_of_onnx_runtime(
    network: Backbone, session: EmbeddingSession, images: np.ndarray
) -> None:
    assert_same_rows(session.embed(images), EmbeddingSession(network).embed(images))


@pytest.mark.slow
def test_of_the_whole_default_network_too(lite0: Backbone, pixels: np.ndarray) -> None:
    outputs = ["embedding", *lite0.levels]
    found, expected = (EmbeddingSession(lite0, 1, device).run(pixels[:3], outputs) for device in ("openvino", "cpu"))
    assert list(found) == outputs
    assert_same_rows(found["embedding"], expected["embedding"])
    for name in lite0.levels:  # of single places, which are no means of many
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-5 * np.abs(expected[name]).max())


def test_a_row_does_not_depend_on_its_batch_to_the_last_bit(session: EmbeddingSession, images: np.ndarray) -> None:
    alone = np.concatenate([session.embed(image[None]) for image in images])
    np.testing.assert_array_equal(session.embed(images), alone)
    np.testing.assert_array_equal(session.embed(images[::-1])[::-1], alone)


def test_calls_from_many_threads_do_not_mix(session: EmbeddingSession, images: np.ndarray) -> None:
    alone = [session.embed(image[None]) for image in images]
    with ThreadPoolExecutor(5) as pool:
        found = list(pool.map(lambda image: session.embed(image[None]), list(images) * 4))
    np.testing.assert_array_equal(np.concatenate(found), np.concatenate(alone * 4))


def test_no_rows(network: Backbone, session: EmbeddingSession, images: np.ndarray) -> None:
    assert session.embed(images[:0]).shape == (0, network.dim)


def test_outputs_in_any_choice_and_order(network: Backbone, session: EmbeddingSession, images: np.ndarray) -> None:
    first, last = network.levels[0], network.levels[-1]
    both = session.run(images[:2], [last, first])
    assert list(both) == [last, first]
    np.testing.assert_array_equal(both[first], session.run(images[:2], [first])[first])
    assert [session.channels(level) for level in (first, last)] == [both[level].shape[1] for level in (first, last)]
    with pytest.raises(BackboneError, match="gives no level9"):
        session.channels("level9")


def test_weights_stored_as_integers_compute_in_float32(lite0: Backbone, pixels: np.ndarray) -> None:
    small = with_int8_weights(lite0)
    found, expected = (EmbeddingSession(small, 1, device).embed(pixels[:2]) for device in ("openvino", "cpu"))
    assert_same_rows(found, expected)


def test_memory_can_be_given_back(session: EmbeddingSession, images: np.ndarray) -> None:
    before = session.embed(images[:1])
    session.give_back()
    assert_same_rows(session.embed(images[:1]), before)


QUIET = """
import sys
from msde.backbones import load_backbone
from msde.backbones.session import EmbeddingSession
EmbeddingSession(load_backbone(), 1, "openvino")
print(sorted(name for name in sys.modules if name.startswith("openvino_telemetry")))
"""


def test_nothing_is_sent_to_the_makers_of_the_library(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "CI": ""}
    done = subprocess.run(
        [sys.executable, "-c", QUIET], env=os.environ | home, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    assert list(tmp_path.iterdir()) == []  # where it would remember having asked


def test_a_damaged_graph_is_refused_in_one_line(network: Backbone) -> None:
    with pytest.raises(BackboneError, match="OpenVINO cannot run it") as caught:
        EmbeddingSession(dataclasses.replace(network, graph=network.graph[:1000]), 1, "openvino")
    assert "\n" not in str(caught.value)


def test_a_damaged_library_is_told_in_one_line(network: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ImportError("libopenvino.so: cannot open shared object file")

    monkeypatch.setattr("msde.backbones.openvino_runtime.library", fail)
    with pytest.raises(BackboneError, match="OpenVINO cannot run it: libopenvino.so"):
        EmbeddingSession(network, 1, "openvino")


def test_caches_keep_runtimes_apart(network: Backbone, tmp_path, rng) -> None:
    cache = EmbeddingCache(tmp_path)
    image = rng.random((40, 40))
    for device, found in (("cpu", 0), ("openvino", 0), ("openvino", 1), ("cpu", 2)):
        session = EncoderSession(Encoder((network,)), 1, device)
        list(embed_images(session, [image], cache=cache))
        assert cache.found == found
