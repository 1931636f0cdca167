"""The examples run."""

import json
import sys
from pathlib import Path
from threading import Thread
from types import ModuleType, SimpleNamespace

import httpx
import numpy as np
import pytest

from msde.images import read_squares
from tests.command import msde

pytestmark = pytest.mark.slow  # a model is saved and exported

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name):
    module = ModuleType(name)
    file = EXAMPLES / f"{name}.py"
    exec(compile(file.read_text(encoding="utf-8"), file, "exec"), vars(module))  # noqa: S102 - our own
    return module


def library(monkeypatch, name, **content):
    """Put a stand-in for a library in place, whose own classes the example only inherits from."""
    parts = name.split(".")
    for n in range(len(parts)):
        name = ".".join(parts[: n + 1])
        module = sys.modules.get(name) or ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)
        if n:
            setattr(sys.modules[".".join(parts[:n])], parts[n], module)
    vars(module).update(content)


@pytest.fixture(scope="module")
def folder(plain_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    plain_model.save(folder / "discs.msde")
    assert msde("export", folder / "discs.msde", "-o", folder / "out").returncode == 0
    return folder


@pytest.fixture(scope="module")
def scored(plain_model, discs):
    (path, *_) = sorted((discs / "abnormal").iterdir())
    return path, plain_model.score(path)[0]


def test_the_server_speaks_the_open_inference_protocol(folder, plain_model, scored):
    path, expected = scored
    side = plain_model.encoder.input_sizes[0]
    pixels = np.empty((1, 3, side, side), np.float32)
    read_squares(path, [pixels[0]], plain_model.rule)
    server = example("serve_onnx").server(folder / "out", "discs")
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{server.server_port}") as client:
            assert client.get("/v2/health/ready").json() == {"ready": True}
            about = client.get("/v2/models/discs").json()
            assert about["inputs"] == [{"name": "pixels", "datatype": "FP32", "shape": [-1, 3, side, side]}]
            assert client.get("/v2/models/other").status_code == 404
            given = {"name": "pixels", "datatype": "FP32", "shape": list(pixels.shape), "data": pixels.ravel().tolist()}
            answer = client.post("/v2/models/discs/infer", json={"id": "7", "inputs": [given]})
            assert (answer.status_code, answer.json()["id"]) == (200, "7")
            found = {one["name"]: one["data"][0] for one in answer.json()["outputs"]}
            assert found["anomaly_score"] == pytest.approx(expected.anomaly_score, rel=1e-5)
            assert (found["p_value"], found["flagged"]) == (expected.p_value, expected.flagged)
            for wrong in (
                {},
                {"inputs": [{**given, "data": [2.0] * pixels.size}]},
                {"inputs": [{**given, "shape": [1]}]},
            ):
                refused = client.post("/v2/models/discs/infer", json=wrong)
                assert refused.status_code == 400
                assert refused.json()["error"]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_operator_scores_a_picture(folder, scored, monkeypatch):
    class Operator:
        def __init__(self, fragment, *args, **kwargs):
            """Take what MONAI Deploy's takes."""

    library(monkeypatch, "monai.deploy.core", Fragment=object, Operator=Operator, OperatorSpec=object)
    path, expected = scored
    operator = example("monai_deploy_operator").MSDEOperator(None, folder=str(folder / "out"))
    from PIL import Image

    with Image.open(path) as picture:
        samples = np.asarray(picture)
    told = {}
    operator.compute(
        SimpleNamespace(receive=lambda name: SimpleNamespace(asnumpy=lambda: samples)),
        SimpleNamespace(emit=lambda value, name: told.update({name: value})),
        None,
    )
    assert told["finding"]["anomaly_score"] == pytest.approx(expected.anomaly_score, rel=1e-5)
    assert told["finding"]["p_value"] == expected.p_value


def test_the_flavour_scores_paths(folder, scored, monkeypatch):
    told: list = []
    library(monkeypatch, "mlflow.pyfunc", PythonModel=object)
    library(monkeypatch, "mlflow.models", set_model=told.append)
    path, expected = scored
    example("mlflow_flavour")
    (flavour,) = told
    flavour.load_context(SimpleNamespace(artifacts={"model": str(folder / "discs.msde")}))
    (row,) = flavour.predict(None, [str(path)])
    assert row == pytest.approx(expected.row())
    assert json.dumps(row)
    lines = (EXAMPLES / "mlflow_flavour.py").read_text().splitlines()
    assert len([line for line in lines if line.strip()]) <= 20
