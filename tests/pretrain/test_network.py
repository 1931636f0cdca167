import numpy as np
import pytest
from tests.pretrain.conftest import TINY
from tests.requirements import need

from msde.backbones import load_backbone
from msde.backbones.session import EmbeddingSession
from msde.errors import BackboneError
from msde.pretrain.network import load_start

need("torch")
pytestmark = pytest.mark.torch


def learning(encoder):
    return [name for name, parameter in encoder.network.named_parameters() if parameter.requires_grad]


def embedded(encoder, pixels):
    import torch

    encoder.mode(training=False)
    with torch.inference_mode():
        return encoder.embed(torch.from_numpy(pixels)).numpy()


def test_the_built_in_start_embeds_as_the_backbone_does(rng):
    encoder, backbone = load_start("efficientnet_lite0", None), load_backbone()
    pixels = rng.random((2, 3, 224, 224), np.float32)
    assert np.allclose(embedded(encoder, pixels), EmbeddingSession(backbone).embed(pixels), atol=1e-5)
    assert set(encoder.names.values()) == set(backbone.weights) - {"pixel_mean", "pixel_std"}
    assert encoder.description["builtin"] == "efficientnet_lite0"


def test_the_first_half_of_the_layers_stays():
    encoder = load_start("efficientnet_lite0", None)
    encoder.learn(0.5)
    assert {name.split(".")[1] for name in learning(encoder) if name.startswith("blocks")} == {"3", "4", "5", "6"}
    assert not any(name.startswith(("conv_stem", "bn1")) for name in learning(encoder))
    encoder.mode(training=True)
    assert not any(module.training for module in encoder.network.modules())


def test_all_of_a_random_start_learns():
    encoder = load_start(TINY, None, random=True)
    encoder.learn(0.5)
    assert len(learning(encoder)) == len(list(encoder.network.parameters()))
    encoder.mode(training=True)
    assert encoder.network.training


def test_the_seed_draws_random_weights(rng):
    pixels = rng.random((1, 3, 32, 32), np.float32)
    one, same, other = (embedded(load_start(TINY, None, random=True, seed=seed), pixels) for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()


def test_a_checkpoint_is_a_start(tmp_path, rng):
    from safetensors.torch import save_file

    first = load_start(TINY, None, random=True, seed=3)
    save_file(first.network.state_dict(), tmp_path / "own.safetensors")
    second = load_start(TINY, tmp_path / "own.safetensors")
    pixels = rng.random((1, 3, 32, 32), np.float32)
    assert (embedded(first, pixels) == embedded(second, pixels)).all()
    assert not second.random
    assert second.description["timm"] == "test_resnet"


def test_an_encoder_of_tokens_is_pooled_as_the_registry_says(tmp_path, monkeypatch, rng):
    from msde.pretrain import network

    entry = {"loader": "timm", "architecture": "test_vit", "pooling": "mean", "licence": "none"}
    monkeypatch.setattr(network, "registry", lambda: {"own": entry})
    pixels = rng.random((1, 3, 160, 160), np.float32)
    pooled, plain = (load_start(name, None, random=True) for name in ("own", "timm:test_vit"))
    assert pooled.description["pooling"] == "mean"
    assert "pooling" not in plain.description
    assert (embedded(pooled, pixels) != embedded(plain, pixels)).any()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "checkpoint", "random", "said"),
    [
        ("no_such_net", None, False, "cannot be trained"),
        ("onnx:net.onnx", None, False, "cannot be trained"),
        ("siglip2-base", None, False, "cannot be trained"),
        ("uni", "missing.pth", False, "cannot be trained"),
        ("timm:no_such_net", None, True, "no model 'no_such_net'"),
        (TINY, "missing.pth", False, "missing.pth"),
        (TINY, "missing.pth", True, "need no checkpoint"),
        ("efficientnet_lite0", "missing.pth", False, "weights of its own"),
    ],
)
def test_bad_starts_are_named(tmp_path, name, checkpoint, random, said):
    with pytest.raises(BackboneError, match=said):
        load_start(name, checkpoint and tmp_path / checkpoint, random=random)
