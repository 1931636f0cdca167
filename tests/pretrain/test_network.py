import numpy as np
import pytest
from tests.pictures import disc
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
    encoder.learn()
    assert {name.split(".")[1] for name in learning(encoder) if name.startswith("blocks")} == {"3", "4", "5", "6"}
    assert not any(name.startswith(("conv_stem", "bn1")) for name in learning(encoder))
    encoder.mode(training=True)
    assert not any(module.training for module in encoder.network.modules())


def test_all_of_a_random_start_learns():
    encoder = load_start(TINY, None, random=True)
    encoder.learn()
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


TINY_VIT = {"depth": 8, "embed_dim": 16, "num_heads": 2, "img_size": 32, "init_values": 1e-5}


@pytest.fixture
def transformer(tmp_path, monkeypatch):
    """Weights of a small transformer that the registry knows as the large one, with the options of its class."""
    import torch

    from msde.backbones import timm_export
    from msde.backbones.known import registry

    entry = registry()["uni"] | {"options": TINY_VIT, "input_size": 32, "dim": 16}
    monkeypatch.setitem(registry(), "uni", entry)
    torch.save(timm_export.build("uni", entry["architecture"], entry).state_dict(), tmp_path / "pytorch_model.bin")
    return tmp_path / "pytorch_model.bin"


@pytest.mark.slow
@pytest.mark.parametrize(("share", "blocks"), [(None, {"6", "7"}), (0.5, {"3", "4", "5", "6", "7"})])
def test_the_last_blocks_of_a_transformer_learn(transformer, share, blocks):
    encoder = load_start("uni", transformer)
    encoder.learn(share)
    assert {name.split(".")[1] for name in learning(encoder) if name.startswith("blocks")} == blocks
    assert {name.split(".")[0] for name in learning(encoder)} == {"blocks", "norm"}


@pytest.mark.slow
@pytest.mark.parametrize("size", [None, 64])
def test_a_transformer_is_trained_from_local_weights_and_used(transformer, tmp_path, rng, size):
    """Its first blocks stay; the backbone of the file embeds as the encoder does, at its size."""
    import torch

    from msde.pretrain.encoder import write_encoder
    from msde.pretrain.images import read_normals
    from msde.pretrain.trainer import train
    from msde.pretrain.training_state import TrainingPlan

    encoder = load_start("uni", transformer, size=size)
    assert encoder.training_size == (size or 32)
    before = {name: tensor.clone() for name, tensor in encoder.network.state_dict().items()}
    images = read_normals([disc(rng, side=48) for _ in range(12)], encoder.training_size, 0)
    train(encoder, images, TrainingPlan(steps=3, batch=4, rate=1e-2), tmp_path / "state")
    after = encoder.network.state_dict()
    moved = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert moved <= set(learning(encoder))
    write_encoder(tmp_path / "encoder.safetensors", encoder, {})
    backbone = load_backbone(f"file:{tmp_path / 'encoder.safetensors'}")
    assert (backbone.input_size, backbone.dim, len(backbone.levels)) == (size or 32, 16, 4)
    pixels = rng.random((2, 3, backbone.input_size, backbone.input_size), np.float32)
    np.testing.assert_allclose(EmbeddingSession(backbone).embed(pixels), embedded(encoder, pixels), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "checkpoint", "random", "said"),
    [
        ("no_such_net", None, False, "cannot be trained"),
        ("onnx:net.onnx", None, False, "cannot be trained"),
        ("siglip2-base", None, False, "cannot be trained"),
        ("uni", "missing.pth", False, "missing.pth"),
        ("virchow2", "missing.pth", False, "cannot be trained"),
        ("timm:no_such_net", None, True, "no model 'no_such_net'"),
        (TINY, "missing.pth", False, "missing.pth"),
        (TINY, "missing.pth", True, "need no checkpoint"),
        ("efficientnet_lite0", "missing.pth", False, "weights of its own"),
    ],
)
def test_bad_starts_are_named(tmp_path, name, checkpoint, random, said):
    with pytest.raises(BackboneError, match=said):
        load_start(name, checkpoint and tmp_path / checkpoint, random=random)
