"""An operator of a MONAI Deploy application that scores images by what `msde export` wrote.

    self.add_flow(loader, MSDEOperator(self, folder="exported"), {("image", "image")})

It takes an image as MONAI Deploy's loaders give it, reads it by the model's own rules, and gives a dictionary with
anomaly_score, p_value and flagged. For research use only; not a medical device.
"""

import json
from pathlib import Path

import numpy as np
import onnxruntime
from monai.deploy.core import Fragment, Operator, OperatorSpec

from msde.images import ImageRule, read_squares


class MSDEOperator(Operator):
    """Score one image."""

    def __init__(self, fragment: Fragment, *args: object, folder: str, **kwargs: object) -> None:
        config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        (taken,) = config["inputs"].values()
        self.side = taken["shape"][2]
        self.rule = ImageRule(config["pixels"]["intensity"], config["pixels"]["aspect"])
        self.session = onnxruntime.InferenceSession(f"{folder}/model.onnx", providers=["CPUExecutionProvider"])
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        spec.input("image")
        spec.output("finding")

    def compute(self, op_input: object, op_output: object, context: object) -> None:
        op_output.emit(self.score(op_input.receive("image").asnumpy()), "finding")

    def score(self, picture: np.ndarray) -> dict:
        pixels = np.empty((1, 3, self.side, self.side), np.float32)
        read_squares(picture, [pixels[0]], self.rule)
        names = ["anomaly_score", "p_value", "flagged"]
        return {
            name: value[0].item()
            for name, value in zip(names, self.session.run(names, {"pixels": pixels}), strict=True)
        }
