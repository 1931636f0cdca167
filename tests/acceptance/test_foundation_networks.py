"""Full-size transformers with random weights, from their own files to heat maps and back from a model file."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.requirements import need

from msde import AnomalyModel
from msde.backbones import Backbone, load_backbone

pytestmark = [pytest.mark.torch, pytest.mark.slow]
PROCESSOR = '{"size": {"height": 224, "width": 224}, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}'


def dinov2_with_registers(folder: Path) -> Backbone:
    import timm
    from safetensors.torch import save_file

    name = "vit_small_patch14_reg4_dinov2"
    save_file(timm.create_model(name, pretrained=False).state_dict(), folder / "model.safetensors")
    return load_backbone(f"timm:{name}", folder / "model.safetensors")


def saved(network: Any, folder: Path) -> Backbone:
    network.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(PROCESSOR)
    return load_backbone(f"hf:{folder}")


def dinov3_base(folder: Path) -> Backbone:
    import transformers

    settings = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
    config = transformers.DINOv3ViTConfig(**settings, patch_size=16, image_size=224, num_register_tokens=4)
    return saved(transformers.DINOv3ViTModel(config), folder)


def siglip_base(folder: Path) -> Backbone:
    import transformers

    text = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    return saved(transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config={})), folder)


@pytest.mark.parametrize(
    ("make", "side", "dim", "grid"),
    [(dinov2_with_registers, 518, 384, 37), (dinov3_base, 224, 768, 14), (siglip_base, 224, 768, 14)],
)
def test_a_full_size_transformer_from_file_to_heat_map(
    tmp_path: Path, make: Any, side: int, dim: int, grid: int
) -> None:
    need("torch", "transformers")
    import torch

    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        backbone = make(tmp_path)
    assert (backbone.input_size, backbone.dim) == (side, dim)
    rng = np.random.default_rng(0)
    disc = np.hypot(*np.mgrid[-1:1:96j, -1:1:96j]) < 0.8
    normals = [np.clip(disc * 0.6 + rng.normal(0, 0.02, disc.shape), 0, 1).astype(np.float32) for _ in range(10)]
    odd = normals[0].copy()
    odd[20:40, 20:40] = 1
    model = AnomalyModel(backbone).fit(normals)
    assert [backbone.levels[0], len(backbone.levels)] == ["level1", 4]
    explained = model.explain(odd)
    assert explained.heat.shape == odd.shape
    assert 0 <= explained.heat.min() <= explained.heat.max() <= 1  # where it is hot says little of random weights
    model.save(tmp_path / "m.msde")
    again = AnomalyModel.load(tmp_path / "m.msde")
    assert again.score([odd])[0].anomaly_score == pytest.approx(model.score([odd])[0].anomaly_score, rel=1e-5)
    np.testing.assert_allclose(again.explain(odd).heat, explained.heat, atol=1e-4)
    assert (
        again.session._sessions[0].run(np.zeros((1, 3, side, side), np.float32), ["level1"])["level1"].shape[2] == grid
    )
