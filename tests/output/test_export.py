"""The graph of a model says what the model says."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx.version_converter
import onnxruntime
import pytest
from tests.command import msde

from msde import AnomalyModel, MSDEDetector
from msde.embedding.feature_spec import POOLINGS
from msde.errors import ModelFileError
from msde.images import read_squares
from msde.output import onnx_export
from msde.output.onnx_export import export_onnx
from msde.output.scoring_graph import scoring_graph


def graph_of(model):
    return onnxruntime.InferenceSession(scoring_graph(model.fitted).SerializeToString())


@pytest.fixture(scope="module")
def pictures(discs, network):
    paths = sorted((discs / "normal").iterdir())[:4] + sorted((discs / "abnormal").iterdir())[:4]
    pixels = np.empty((len(paths), 3, network.input_size, network.input_size), np.float32)
    return paths, pixels


def same(model, pictures):
    paths, pixels = pictures
    for row, path in zip(pixels, paths, strict=True):
        read_squares(path, [row], model.rule)
    score, p_value, flagged = graph_of(model).run(["anomaly_score", "p_value", "flagged"], {"pixels": pixels})
    expected = model.score(paths)
    np.testing.assert_allclose(score, [one.anomaly_score for one in expected], rtol=1e-5)
    np.testing.assert_array_equal(p_value, [one.p_value for one in expected])
    np.testing.assert_array_equal(flagged, [one.flagged for one in expected])


def test_files_score_through_the_graph_as_through_the_model(plain_model, pictures):
    same(plain_model, pictures)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "looks"),
    [
        ({}, ("plain+mirrored:mean", "stretched:max+gem:level2")),
        ({"shift": None}, ("mirrored:own",)),
        ({"mode": "adaptive"}, ("plain:mean+std",)),
        ({"abnormal": True}, ("plain:mean+std", "stretched:mean")),
    ],
    ids=["views and poolings", "without shift", "adaptive", "labelled"],
)
def test_every_look_and_mode(network, discs, pictures, arguments, looks):
    abnormal = sorted((discs / "abnormal").iterdir())[6:10] if arguments.pop("abnormal", False) else None
    detector = MSDEDetector(**arguments)
    pool = discs / "abnormal" if detector.mode == "adaptive" else None
    model = AnomalyModel(network, detector, looks=looks)
    model.fit(
        discs / "train",
        pool,
        abnormal=abnormal,
        heatmaps=False,
        groups=[n // 2 for n in range(40)] if pool is None and abnormal is None else None,
    )
    same(model, pictures)


@pytest.mark.slow
def test_two_networks_of_two_sizes(network, discs):
    from msde.backbones.input_size import with_input_size

    model = AnomalyModel([network, with_input_size(network, 48)], looks=("plain:mean",)).fit(
        discs / "train", heatmaps=False
    )
    pixels = [np.random.default_rng(0).uniform(size=(3, 3, side, side)).astype(np.float32) for side in (48, 64)]
    session = graph_of(model)
    assert [taken.name for taken in session.get_inputs()] == ["pixels_48", "pixels_64"]
    score, rows = session.run(["anomaly_score", "embedding"], {"pixels_48": pixels[0], "pixels_64": pixels[1]})
    np.testing.assert_allclose(rows, model.session.embed(pixels), atol=1e-6)
    np.testing.assert_allclose(score, model.scorer_.score(model.session.embed(pixels)), rtol=1e-5)


@pytest.mark.slow
def test_a_network_of_a_later_version_of_onnx(network, discs, pictures):
    later = onnx.version_converter.convert_version(onnx.load_from_string(network.graph), 18)
    newer = replace(network, graph=later.SerializeToString(deterministic=True))
    same(AnomalyModel(newer).fit(discs / "train", heatmaps=False), pictures)


def test_all_poolings_are_there():
    from msde.output.scoring_graph import _POOLINGS

    assert _POOLINGS.keys() == POOLINGS.keys()


@pytest.mark.slow
def test_the_command_writes_graph_config_and_card(plain_model, discs, tmp_path):
    plain_model.save(tmp_path / "discs.msde")
    out = tmp_path / "exported"
    done = msde("export", tmp_path / "discs.msde", "-o", out, "--images", discs / "abnormal", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    assert said["images"] == 7 + 12
    assert said["relative_difference"] < 1e-5
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "config.json", "model.onnx"]
    config = json.loads((out / "config.json").read_text())
    assert config["calibration"]["threshold"] == plain_model.calibration_.threshold
    assert config["parity"]["images"] == 19
    assert "# discs\n" in (out / "README.md").read_text()


def test_a_graph_that_says_otherwise_is_not_written(plain_model, tmp_path, monkeypatch):
    other = AnomalyModel.of(plain_model.fitted, plain_model.session)
    monkeypatch.setattr(onnx_export, "TOLERANCE", -1.0)
    with pytest.raises(ModelFileError, match="nothing is written"):
        export_onnx(other, tmp_path / "out", {"name": "m", "sha256": ""})
    assert list((tmp_path / "out").iterdir()) == []


def test_transductive_models_have_no_graph():
    model = AnomalyModel.load(Path(__file__).parents[1] / "data" / "format5" / "transductive.msde")
    with pytest.raises(ModelFileError, match="depend on the batch"):
        scoring_graph(model.fitted)
