"""Write `efficientnet_lite0.onnx` or another built-in backbone's graph, without its weights.

The graph is built node by node from timm's model, so it stays small and readable and does not change with
an exporter's version: running the script twice writes the same bytes. Its initialisers have a name, a type
and a shape, but no values: they are named after the tensors of the weights package, which ONNX Runtime is
given when a session is made. A graph whose embeddings differ from timm's is not written.

Needs the `torch` extra and the package of weights:  python tools/export_graph.py [NAME [OUTPUT.onnx]]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import timm
import torch
from onnx import TensorProto, helper

from msde.backbones.backbone import per_channel
from msde.backbones.builtin import assemble, graph_file, weights_file
from msde.backbones.known import BUILT_IN, registry
from msde.backbones.legacy_torch import read_torch_file
from msde.backbones.parity import check_parity, noise

OPSET = 17
IR_VERSION = 8  # the one that came with opset 17: older runtimes read it too
LEVEL_STAGES = (1, 2, 4, 6)  # timm's stages that end with the last block at strides 4, 8, 16 and 32
RELU6 = {"relu6.min": 0.0, "relu6.max": 6.0}
CONSTANTS = {**RELU6, "shortest": 1e-6}
# timm's layers of a block in order of computation, and what the weights package calls them
EXPANDING = {"conv_pw": "bn1", "conv_dw": "bn2", "conv_pwl": "bn3"}
SEPARABLE = {"conv_dw": "bn1", "conv_pw": "bn2"}


def timm_model(name: str) -> torch.nn.Module:
    """Build timm's model with the weights of the package, whose tensors have the same order and shapes."""
    net = timm.create_model(f"tf_{name}", pretrained=False)
    tensors = read_torch_file(weights_file(registry()[name]))
    net.load_state_dict({key: torch.from_numpy(t) for key, t in zip(net.state_dict(), tensors.values(), strict=True)})
    net.package_names = dict(zip(net.state_dict(), tensors, strict=True))
    return net.eval()


def embeddings(name: str, net: Any, pixels: np.ndarray) -> np.ndarray:
    """Compute with timm what the graph is to give: the means of four levels, each of unit length."""
    mean, std = (per_channel(registry()[name][key]) for key in ("mean", "std"))
    with torch.inference_mode():
        x, means = net.bn1(net.conv_stem(torch.from_numpy((pixels - mean) / std))), []
        for number, stage in enumerate(net.blocks):
            x = stage(x)
            if number in LEVEL_STAGES:
                means.append(torch.nn.functional.normalize(x.mean((2, 3)), eps=CONSTANTS["shortest"]))
    return torch.cat(means, 1).numpy()


class GraphWriter:
    """Collects ONNX nodes and valueless initialisers while it walks through timm's modules."""

    def __init__(self, name: str, net: Any) -> None:
        self.name, self.net, self.names = name, net, net.package_names
        self.nodes: list[onnx.NodeProto] = []
        self.initializers = [
            helper.make_tensor(name, TensorProto.FLOAT, [], [value]) for name, value in CONSTANTS.items()
        ]

    def external(self, name: str, shape: tuple[int, ...]) -> str:
        """Declare an initialiser whose values come with the session."""
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value="weights")
        self.initializers.append(tensor)
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Append a node, named after its only output."""
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def convolution(self, conv_path: str, bn_path: str, x: str, size: int) -> tuple[str, int]:
        """Append convolution, batch norm and timm's ReLU6, if any; returns the output and its side length."""
        conv, bn = self.net.get_submodule(conv_path), self.net.get_submodule(bn_path)
        (kernel, _), (stride, _) = conv.kernel_size, conv.stride
        out = -(-size // stride)
        padding = max((out - 1) * stride + kernel - size, 0)
        first, last = padding // 2, padding - padding // 2  # TensorFlow pads an odd pixel at the bottom and right
        weight = self.external(self.names[f"{conv_path}.weight"], tuple(conv.weight.shape))
        name = weight.removesuffix(".weight")
        x = self.node("Conv", [x, weight], name, group=conv.groups, kernel_shape=[kernel, kernel],
                      pads=[first, first, last, last], strides=[stride, stride])  # fmt: skip
        parts = [self.names[f"{bn_path}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
        name = parts[0].removesuffix(".weight")
        x = self.node(
            "BatchNormalization", [x, *(self.external(p, (bn.num_features,)) for p in parts)], name, epsilon=bn.eps
        )
        if isinstance(bn.act, torch.nn.ReLU6):
            x = self.node("Clip", [x, *RELU6], f"{name}.relu6")
        return x, out

    def block(self, path: str, x: str, size: int) -> tuple[str, int]:
        """Append a block and, where timm has one, its residual sum; returns the output and its side length."""
        module, source = self.net.get_submodule(path), x
        for conv, bn in (EXPANDING if hasattr(module, "conv_pwl") else SEPARABLE).items():
            x, size = self.convolution(f"{path}.{conv}", f"{path}.{bn}", x, size)
        if module.has_skip:
            x = self.node("Add", [x, source], f"{x}.sum")
        return x, size

    def unit_mean(self, level: str) -> str:
        """Append a level's global mean, brought to unit length: takes an image's contrast out of its embedding."""
        mean = self.node("GlobalAveragePool", [level], f"{level}.mean")
        length = self.node("ReduceL2", [mean], f"{level}.length", axes=[1], keepdims=1)
        length = self.node("Max", [length, "shortest"], f"{level}.divisor")
        return self.node("Div", [mean, length], f"{level}.unit")

    def backbone(self) -> onnx.ModelProto:
        """Write the whole graph: pixels in [0, 1] -> the embedding and the feature maps it is pooled from."""
        x = self.node("Sub", ["pixels", self.external("pixel_mean", (1, 3, 1, 1))], "centred")
        x = self.node("Div", [x, self.external("pixel_std", (1, 3, 1, 1))], "normalised")
        pixels_size = registry()[self.name]["input_size"]
        x, size = self.convolution("conv_stem", "bn1", x, pixels_size)
        means, maps = [], []
        for number, stage in enumerate(self.net.blocks):
            for block in range(len(stage)):
                x, size = self.block(f"blocks.{number}.{block}", x, size)
            if number in LEVEL_STAGES:
                level = f"level{len(maps) + 1}"
                self.nodes[-1].output[0] = x = level
                maps.append(helper.make_tensor_value_info(level, TensorProto.FLOAT, ["n", None, size, size]))
                means.append(self.unit_mean(level))
        x = self.node("Concat", means, "levels", axis=1)
        self.node("Flatten", [x], "embedding", axis=1)
        pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, pixels_size, pixels_size])
        embedding = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", None])
        graph = helper.make_graph(self.nodes, self.name, [pixels], [embedding, *maps], self.initializers)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def graph_bytes(name: str = BUILT_IN) -> bytes:
    """Return the graph as the package keeps it.

    Raises
    ------
    BackboneError
        If its embeddings are not timm's.
    """
    net, entry = timm_model(name), registry()[name]
    graph = GraphWriter(name, net).backbone().SerializeToString(deterministic=True)
    pixels = noise(entry["input_size"])
    check_parity(assemble(name, entry, graph), pixels, {"embedding": embeddings(name, net, pixels)})
    return graph


if __name__ == "__main__":
    name = sys.argv[1] if len(sys.argv) > 1 else BUILT_IN
    output = Path(sys.argv[2]) if len(sys.argv) > 2 else graph_file(registry()[name])
    output.write_bytes(graph_bytes(name))
    print(f"{output}: {output.stat().st_size} bytes")
