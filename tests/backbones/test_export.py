"""From a torch network to a backbone."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.requirements import need

from msde.backbones import Backbone
from msde.backbones.export import export_torch, pooled, quiet, require
from msde.backbones.parity import check_parity
from msde.errors import BackboneError

Agrees = Callable[[Backbone, Callable[[Any], Any]], None]
SETTINGS = {"input_size": 16, "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "licence": "MIT"}


@pytest.fixture(scope="module")
def torch() -> Any:
    need("torch")
    import torch

    return torch


@pytest.fixture
def network(torch: Any) -> Any:
    """One whose inner values are named as a backbone's outputs, and whose weights are of half precision."""

    class Net(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 12, 3)
            self.embedding = torch.nn.Embedding(12, 1)

        def forward(self, images: Any) -> tuple[Any, ...]:
            maps = self.conv(images)
            level1 = maps.mean((2, 3)) + self.embedding(torch.arange(12)).flatten()
            return level1, maps

    torch.manual_seed(0)
    return Net().eval().half()


@pytest.mark.torch
@pytest.mark.slow
def test_any_network(network: Any, agrees: Agrees) -> None:
    backbone = export_torch("net", network, SETTINGS, "nowhere")
    assert (backbone.levels, backbone.dim, backbone.licence) == (("level1",), 12, "MIT")
    assert {values.dtype.type for values in backbone.weights.values()} == {np.float32}
    agrees(backbone, lambda images: network.float()(images)[0])


@pytest.mark.torch
@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"dim": 13}, r"gives embeddings of shape \(12,\), not \(13,\)"),
        ({"channels": 1}, "takes no images of 16x16 pixels: .*channels"),
        ({"input_size": 2}, "takes no images of 2x2 pixels"),
    ],
)
def test_network_of_something_else(network: Any, settings: dict[str, int], reason: str) -> None:
    with pytest.raises(BackboneError, match=reason) as caught:
        export_torch("net", network, SETTINGS | settings, "nowhere")
    assert "\n" not in str(caught.value)


@pytest.mark.torch
@pytest.mark.slow
def test_network_that_depends_on_the_pixels_is_refused(torch: Any) -> None:
    class Fickle(torch.nn.Module):  # type: ignore[misc]
        def forward(self, images: Any) -> tuple[Any, ...]:
            return (images.mean((2, 3)) if images.sum() > 0 else images.amax((2, 3)),)

    with pytest.raises(BackboneError, match="cannot export it to ONNX") as caught:
        export_torch("net", Fickle(), SETTINGS, "nowhere")
    assert "\n" not in str(caught.value)


@pytest.mark.torch
@pytest.mark.slow
def test_network_whose_export_drops_a_token_is_refused(torch: Any) -> None:
    class Dropping(torch.nn.Module):  # type: ignore[misc]
        def forward(self, images: Any) -> tuple[Any, ...]:
            maps = torch.nn.functional.avg_pool2d(images, 4)
            return images.mean((2, 3)), maps[..., :-1] if torch.compiler.is_compiling() else maps

    with pytest.raises(BackboneError, match=r"level1 of its ONNX graph is \(3, 4, 3\) an image, the original"):
        export_torch("net", Dropping(), SETTINGS, "nowhere")


@pytest.mark.torch
def test_pooling(torch: Any) -> None:
    tokens = torch.rand(2, 6, 3)
    assert torch.equal(pooled(tokens, 2, "cls"), tokens[:, 0])
    assert torch.equal(pooled(tokens, 2, "mean"), tokens[:, 2:].mean(1))
    assert torch.equal(pooled(tokens, 2, "cls+mean"), torch.cat([tokens[:, 0], tokens[:, 2:].mean(1)], 1))


@pytest.mark.parametrize(("change", "refused"), [(0.9e-4, False), (1.1e-4, True), (np.nan, True)])
def test_parity(lite0: Backbone, lite0_session: Any, pixels: np.ndarray, change: float, refused: bool) -> None:
    expected = lite0_session.embed(pixels[:2])
    expected[1, 3] += change * np.abs(expected).max()
    if refused:
        with pytest.raises(BackboneError, match="efficientnet_lite0: embedding of its ONNX graph differs from the"):
            check_parity(lite0, pixels[:2], {"embedding": expected})
    else:
        check_parity(lite0, pixels[:2], {"embedding": expected})


def test_maps_are_compared_too(lite0: Backbone, lite0_session: Any, pixels: np.ndarray) -> None:
    expected = lite0_session.run(pixels[:2], ["embedding", "level2"])
    check_parity(lite0, pixels[:2], expected)
    expected["level2"][0, 0] *= 1.01
    with pytest.raises(BackboneError, match="level2 of its ONNX graph differs"):
        check_parity(lite0, pixels[:2], expected)


def test_missing_library() -> None:
    require("net", "torch", "json")
    with pytest.raises(BackboneError, match=r"net needs json and no_such_module; .* pip install 'msde\[hf\]'"):
        require("net", "hf", "json", "no_such_module")


def test_quiet_restores_warnings_and_logging(caplog: pytest.LogCaptureFixture) -> None:
    with quiet():
        warnings.warn("unheard", UserWarning, stacklevel=1)
        logging.getLogger("exporter").warning("unheard")
    logging.getLogger("exporter").warning("heard")
    assert [record.message for record in caplog.records] == ["heard"]
    with pytest.warns(UserWarning, match="heard"):
        warnings.warn("heard", UserWarning, stacklevel=1)
