"""Serve what `msde export` wrote by the Open Inference Protocol's REST (KServe v2): ONNX Runtime and NumPy alone.

    python examples/serve_onnx.py FOLDER [--name model] [--host 127.0.0.1] [--port 8080]

It listens on loopback and asks nobody who they are: put a proxy in front. For research use only; not a medical device.
"""

import argparse
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import onnxruntime

TYPES = {"tensor(float)": "FP32", "tensor(double)": "FP64", "tensor(bool)": "BOOL"}
ARRAYS = {"FP32": np.float32, "FP64": np.float64, "BOOL": np.bool_}
LARGEST = 64_000_000  # bytes of a request


class Served:
    """A graph at work, and what it says of itself."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])

    def metadata(self) -> dict:
        def tensors(given: list) -> list[dict]:
            return [
                {
                    "name": one.name,
                    "datatype": TYPES[one.type],
                    "shape": [n if isinstance(n, int) else -1 for n in one.shape],
                }
                for one in given
            ]

        return {
            "name": self.name,
            "versions": [self.config["model"]["sha256"][:12]],
            "platform": "onnxruntime_onnx",
            "inputs": tensors(self.session.get_inputs()),
            "outputs": tensors(self.session.get_outputs()),
        }

    def infer(self, request: dict) -> dict:
        inputs = {}
        for given in request["inputs"]:
            values = np.asarray(given["data"], ARRAYS[given["datatype"]])
            inputs[given["name"]] = values.reshape(given["shape"])
            if not (np.isfinite(inputs[given["name"]]).all() and values.min() >= 0 and values.max() <= 1):
                raise ValueError(f"{given['name']}: pixels must lie in [0, 1]; config.json says how they are made")
        wanted = [one["name"] for one in request.get("outputs", [])] or ["anomaly_score", "p_value", "flagged"]
        found = zip(wanted, self.session.run(wanted, inputs), strict=True)
        kinds = {np.dtype(kind): name for name, kind in ARRAYS.items()}
        outputs = [
            {
                "name": name,
                "datatype": kinds[values.dtype],
                "shape": list(values.shape),
                "data": values.ravel().tolist(),
            }
            for name, values in found
        ]
        return {"model_name": self.name, "id": str(request.get("id", "")), "outputs": outputs}


class Handler(BaseHTTPRequestHandler):
    served: Served

    def do_GET(self) -> None:
        model = f"/v2/models/{self.served.name}"
        answers = {
            "/v2/health/live": {"live": True},
            "/v2/health/ready": {"ready": True},
            f"{model}/ready": {"name": self.served.name, "ready": True},
            "/v2": {"name": "msde-onnx", "version": "1", "extensions": []},
            model: self.served.metadata(),
        }
        self.answer(answers.get(self.path))

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        if self.path != f"/v2/models/{self.served.name}/infer" or not 0 < size <= LARGEST:
            return self.answer(None, 413 if size > LARGEST else 404)
        try:
            self.answer(self.served.infer(json.loads(self.rfile.read(size))))
        except Exception as error:  # whatever is wrong with a request, or with its shapes by the runtime
            self.answer({"error": str(error).splitlines()[0]}, 400)

    def answer(self, content: dict | None, status: int = 404) -> None:
        body = json.dumps({"error": "not found"} if content is None else content).encode()
        self.send_response(status if content is None or "error" in content else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep addresses out of a log."""


def server(folder: Path, name: str = "model", host: str = "127.0.0.1", port: int = 0) -> ThreadingHTTPServer:
    return ThreadingHTTPServer((host, port), type("Bound", (Handler,), {"served": Served(folder, name)}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--name", default="model")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    given = parser.parse_args()
    with server(given.folder, given.name, given.host, given.port) as listening:
        print(f"http://{given.host}:{listening.server_port}/v2/models/{given.name}")
        listening.serve_forever()
