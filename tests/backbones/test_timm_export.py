"""timm models with random weights, saved to disk in the formats that users have."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from msde.backbones import Backbone, load_backbone, timm_export
from msde.backbones.session import EmbeddingSession
from msde.errors import BackboneError, WeightsFileError

CNN, TRANSFORMER = "test_resnet", "test_vit"  # timm's miniatures, at 160 pixels


def test_no_torch_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(BackboneError, match=r"pip install 'msde\[torch\]'"):
        load_backbone("resnet18.tv_in1k", tmp_path / "net.safetensors")


@pytest.fixture(scope="module")
def torch() -> Any:
    pytest.importorskip("timm", reason="needs the torch extra")
    pytest.importorskip("onnxscript", reason="needs the torch extra")
    return pytest.importorskip("torch", reason="needs the torch extra")


@pytest.fixture(scope="module")
def network(torch: Any) -> Any:
    import timm

    torch.manual_seed(0)
    network = timm.create_model(CNN, pretrained=False).eval()
    for name, values in network.named_buffers():  # batch norms that do something
        if name.endswith("running_mean"):
            values.normal_(0, 0.1)
    return network


@pytest.fixture(scope="module")
def checkpoint(network: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from safetensors.torch import save_file

    path = tmp_path_factory.mktemp("weights") / "net.safetensors"
    save_file(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def exported(checkpoint: Path) -> Backbone:
    return load_backbone(f"timm:{CNN}", checkpoint)


@pytest.mark.torch
@pytest.mark.slow
def test_embedding_is_the_global_mean_of_the_last_map(
    torch: Any, network: Any, exported: Backbone, rng: np.random.Generator
) -> None:
    pixels = rng.random((11, 3, 160, 160), np.float32)
    mean, std = (np.float32(values).reshape(1, 3, 1, 1) for values in (exported.mean, exported.std))
    with torch.inference_mode():
        expected = network.forward_features(torch.from_numpy((pixels - mean) / std)).mean((2, 3)).numpy()
    session = EmbeddingSession(exported)
    found = session.embed(pixels)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    alone = np.concatenate([session.embed(row[None]) for row in pixels])
    np.testing.assert_allclose(alone, found, rtol=0, atol=1e-6 * np.abs(found).max())


@pytest.mark.torch
@pytest.mark.slow
def test_description(exported: Backbone) -> None:
    assert exported.name == f"timm:{CNN}"
    assert exported.source == f"timm {CNN}, weights of net.safetensors"
    assert (exported.input_size, exported.levels) == (160, ("level1",))
    assert "local checkpoint" in exported.licence
    assert Backbone.from_description(exported.describe(), exported.graph, exported.weights).sha256 == exported.sha256
    assert len(exported.graph) < 50_000
    assert str(Path(timm_export.__file__).parent).encode() not in exported.graph
    assert b"site-packages" not in exported.graph


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"epoch": 3, "state_dict": state}])
@pytest.mark.parametrize("legacy", [False, True])
def test_torch_files_give_the_same_backbone(
    torch: Any, network: Any, exported: Backbone, tmp_path: Path, wrap: Any, legacy: bool
) -> None:
    path = tmp_path / "net.pth"
    torch.save(wrap(network.state_dict()), path, _use_new_zipfile_serialization=not legacy)
    tensors = timm_export.read_checkpoint(path)
    assert all(torch.equal(tensors[name], values) for name, values in network.state_dict().items())


@pytest.mark.torch
@pytest.mark.slow
def test_transformer(torch: Any, tmp_path: Path) -> None:
    import timm

    network = timm.create_model(TRANSFORMER, pretrained=False)
    torch.save(network.state_dict(), tmp_path / "net.pth")
    backbone = load_backbone(f"timm:{TRANSFORMER}", tmp_path / "net.pth")
    assert backbone.levels == ()
    assert backbone.dim == network.num_features


@pytest.mark.torch
@pytest.mark.slow
def test_published_choice_from_a_local_file(torch: Any, tmp_path: Path) -> None:
    import timm

    torch.save(timm.create_model("resnet18", pretrained=False).state_dict(), tmp_path / "resnet18.pth")
    backbone = load_backbone("resnet18.tv_in1k", tmp_path / "resnet18.pth")
    assert (backbone.dim, backbone.input_size, backbone.licence) == (512, 224, "BSD-3-Clause")
    assert backbone.mean == (0.485, 0.456, 0.406)


@pytest.mark.torch
@pytest.mark.slow
def test_mismatch_names_the_first_tensors(checkpoint: Path) -> None:
    with pytest.raises(WeightsFileError, match=r"net\.safetensors: does not fit.*conv1\.weight") as caught:
        load_backbone("timm:resnet18", checkpoint)
    assert str(caught.value).count("instead of") + str(caught.value).count("(missing)") == timm_export.SHOWN
    assert "more" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.torch
@pytest.mark.slow
def test_parity_failure_is_refused(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm_export, "run_torch", lambda network, pixels: [np.ones((3, 5), np.float32)])
    monkeypatch.setattr(EmbeddingSession, "embed", lambda session, pixels: np.full((3, 5), 1.001, np.float32))
    with pytest.raises(BackboneError, match=r"differs from torch by 1\.0e-03"):
        load_backbone(f"timm:{CNN}", checkpoint)


@pytest.mark.torch
@pytest.mark.parametrize("name", ["no_such_model", "resnet18.no_such_tag"])
@pytest.mark.parametrize("local", [False, True])
def test_unknown_model(torch: Any, tmp_path: Path, name: str, local: bool) -> None:
    with pytest.raises(BackboneError, match="timm has no model"):
        load_backbone(f"timm:{name}", tmp_path / "net.pth" if local else None)


@pytest.mark.torch
def test_hub_name_with_a_checkpoint(torch: Any, tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="timm:NAME"):
        load_backbone("hf-hub:timm/resnet18.tv_in1k", tmp_path / "net.pth")


@pytest.mark.torch
@pytest.mark.parametrize("name", ["timm:resnet18.tv_in1k", "hf-hub:timm/resnet18.tv_in1k"])
def test_failed_download_says_what_to_fetch(torch: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    def unreachable(*arguments: object, **options: object) -> None:
        raise OSError("no network\nat all")

    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(BackboneError, match=r"model\.safetensors of timm/resnet18\.tv_in1k .* checkpoint") as caught:
        load_backbone(name)
    assert "\n" not in str(caught.value)


@pytest.mark.torch
@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("net.safetensors", b""),
        ("net.safetensors", b"\xff" * 100),
        ("net.pth", b""),
        ("net.pth", b"not a checkpoint"),
        ("net.pth", b"PK\x03\x04" + bytes(100)),
        ("net.pth", b"cos\nsystem\n(S'true'\ntR."),
    ],
)
def test_damaged_checkpoint(torch: Any, tmp_path: Path, file: str, content: bytes) -> None:
    (tmp_path / file).write_bytes(content)
    with pytest.raises(WeightsFileError, match=file) as caught:
        load_backbone(f"timm:{CNN}", tmp_path / file)
    assert "\n" not in str(caught.value)


@pytest.mark.torch
@pytest.mark.parametrize("file", ["net.safetensors", "net.pth"])
def test_missing_checkpoint(torch: Any, tmp_path: Path, file: str) -> None:
    with pytest.raises(WeightsFileError, match=f"{file}: cannot be read"):
        load_backbone(f"timm:{CNN}", tmp_path / file)


@pytest.mark.torch
@pytest.mark.parametrize("content", [[1, 2], {"weights": 3}])
def test_checkpoint_without_tensors(torch: Any, tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(WeightsFileError, match="state_dict"):
        load_backbone(f"timm:{CNN}", tmp_path / "net.pth")


@pytest.mark.torch
def test_pickled_code_is_not_run(torch: Any, tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            import os

            return os.mkdir, (str(tmp_path / "made"),)

    torch.save({"conv1.weight": Attack()}, tmp_path / "net.pth")
    with pytest.raises(WeightsFileError, match=r"net\.pth"):
        load_backbone(f"timm:{CNN}", tmp_path / "net.pth")
    assert not (tmp_path / "made").exists()


@pytest.mark.torch
def test_checkpoint_that_is_not_finite(torch: Any, network: Any, tmp_path: Path) -> None:
    state = {name: values.clone() for name, values in network.state_dict().items()}
    state["conv1.0.weight" if "conv1.0.weight" in state else "conv1.weight"].view(-1)[0] = float("nan")
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(WeightsFileError, match="not finite"):
        load_backbone(f"timm:{CNN}", tmp_path / "net.pth")


def test_quiet_restores_warnings_and_logging(caplog: pytest.LogCaptureFixture) -> None:
    with timm_export.quiet():
        warnings.warn("unheard", UserWarning, stacklevel=1)
        logging.getLogger("exporter").warning("unheard")
    logging.getLogger("exporter").warning("heard")
    assert [record.message for record in caplog.records] == ["heard"]
    with pytest.warns(UserWarning, match="heard"):
        warnings.warn("heard", UserWarning, stacklevel=1)
