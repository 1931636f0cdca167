from dataclasses import replace

import numpy as np
import pytest
from tests.pictures import SIDE
from tests.scores import assert_same_rows

from msde.backbones import load_backbone
from msde.backbones.input_size import with_input_size
from msde.embedding.encoder import DEFAULT_LOOKS, Encoder, EncoderSession
from msde.embedding.feature_spec import FeatureSpec
from msde.errors import BackboneError


@pytest.fixture(scope="module")
def backbone():
    return with_input_size(load_backbone(), SIDE)


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).random((3, 3, SIDE, SIDE), dtype=np.float32)


def session(*looks, backbones):
    return EncoderSession(Encoder(tuple(backbones), tuple(map(FeatureSpec.parse, looks))), 1)


def test_the_network_s_own_embedding_is_the_unit_means_of_its_levels(backbone, pixels):
    own, means = (session(look, backbones=[backbone]).embed([pixels]) for look in ("plain:own", "plain:mean"))
    np.testing.assert_allclose(own, means, atol=1e-5)


def test_looks_stand_side_by_side(backbone, pixels):
    looks = ["plain:mean+std", "stretched:max:level2", "plain:own"]
    together = session(*looks, backbones=[backbone])
    found = together.embed([pixels])
    assert found.shape == (3, together.dim)
    assert together.dim == 2 * 496 + 40 + 496
    alone = np.hstack([session(look, backbones=[backbone]).embed([pixels]) for look in looks])
    assert_same_rows(found, alone)


def test_views_of_a_look_are_averaged(backbone, pixels):
    one, other = (session(f"{view}:mean", backbones=[backbone]).embed([pixels]) for view in ("plain", "mirrored"))
    both = session("plain+mirrored:mean", backbones=[backbone]).embed([pixels])
    np.testing.assert_allclose(both, (one + other) / 2, rtol=1e-6)
    mirrored = session("plain+mirrored:mean", backbones=[backbone]).embed([pixels[..., ::-1]])
    np.testing.assert_allclose(both, mirrored, atol=1e-6)


def test_networks_stand_side_by_side(backbone, pixels):
    twice = session("plain:own", backbones=[backbone, backbone]).embed([pixels])
    assert_same_rows(twice[:, :496], twice[:, 496:])


def test_an_embedding_does_not_depend_on_its_batch(backbone, pixels):
    looks = session("plain:mean+std", "stretched:mean", backbones=[backbone])
    alone = np.vstack([looks.embed([pixels[i : i + 1]]) for i in range(3)])
    assert_same_rows(looks.embed([pixels]), alone)


def test_no_images_give_no_embeddings(backbone, pixels):
    assert session("plain:mean+std", backbones=[backbone]).embed([pixels[:0]]).shape == (0, 992)


def test_an_encoder_comes_back_from_its_description(backbone):
    encoder = Encoder((backbone, backbone), (FeatureSpec.parse("plain:mean"), FeatureSpec.parse("stretched:std")))
    again = Encoder.from_description(encoder.describe(), encoder.arrays())
    assert again.sha256 == encoder.sha256
    assert again.looks == encoder.looks
    assert again.input_sizes == (SIDE,)


def test_the_digest_tells_looks_and_networks_apart(backbone):
    looks = [(FeatureSpec.parse("plain:mean"),), (FeatureSpec.parse("plain:std"),)]
    digests = {Encoder(networks, look).sha256 for look in looks for networks in ((backbone,), (backbone, backbone))}
    assert len(digests) == 4


def test_a_level_that_a_network_lacks_is_refused(backbone):
    with pytest.raises(BackboneError, match="efficientnet_lite0 has no level9; it has level1"):
        Encoder((backbone,), (FeatureSpec.parse("plain:mean:level9"),))


def test_an_encoder_of_nothing_is_refused(backbone):
    with pytest.raises(BackboneError, match="needs a backbone and a look"):
        Encoder((backbone,), ())


def test_a_network_that_states_its_looks_is_given_them_by_default(backbone, pixels):
    stating = replace(backbone, looks=("plain:own",))
    default, named = Encoder((stating, backbone)), Encoder((stating, backbone), (FeatureSpec.parse("plain:mean+std"),))
    assert [tuple(map(str, default.looks_of(network))) for network in default.backbones] == [
        ("plain:own",),
        tuple(map(str, DEFAULT_LOOKS)),
    ]
    assert named.looks_of(stating) == named.looks
    found = EncoderSession(default, 1).embed([pixels])
    own, usual = (EncoderSession(Encoder((network,)), 1).embed([pixels]) for network in (stating, backbone))
    assert_same_rows(found, np.hstack([own, usual]))
    assert len({Encoder((network,)).sha256 for network in (stating, backbone)}) == 2
    again = Encoder.from_description(default.describe(), default.arrays())
    assert again.sha256 == default.sha256
    assert [block.pooling for block in EncoderSession(again, 1).blocks][:2] == ["own", "mean"]


def test_a_class_token_that_a_network_lacks_is_refused(backbone):
    with pytest.raises(BackboneError, match="efficientnet_lite0: has no class token"):
        session("plain:cls:level4", backbones=[backbone])
