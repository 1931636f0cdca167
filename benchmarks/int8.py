"""Cost of weights stored as int8 or in half precision: AUROC on the sets of shared/data, size, speed, against float32.

Run: python benchmarks/int8.py CACHE_FOLDER [--backbone NAME] [--only WORD]
The first table is AUROC of the default model. The second has the speed of one thread as a ratio to float32, the two
measured in turns, and the bytes of the weights. "Dynamic" is ONNX Runtime's dynamic quantisation, which computes in
integers; "alone" is the largest difference between an image's embedding alone and in a batch, "difference" that from
the embeddings of float32, relative to the largest number.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from embeddings import PARTS, shared_sets
from onnx import numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from table import print_header

from msde import MSDEDetector
from msde.backbones import Backbone, load_backbone
from msde.backbones.half import with_half_weights
from msde.backbones.quantize import with_int8_weights
from msde.backbones.session import BATCH, EmbeddingSession
from msde.embedding.cache import EmbeddingCache
from msde.embedding.embed import embed_images
from msde.embedding.encoder import Encoder, EncoderSession
from msde.images import find_images
from msde.method.metrics import auroc

ROUNDS = 10


def dynamic(backbone: Backbone) -> ort.InferenceSession:
    """Quantise the whole graph as ONNX Runtime does, with the ranges of activations taken from each batch."""
    model = onnx.load_from_string(backbone.graph)
    for tensor in model.graph.initializer:
        if tensor.name in backbone.weights:
            tensor.CopyFrom(numpy_helper.from_array(backbone.weights[tensor.name], tensor.name))
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory() as folder:
        whole, fused, small = (Path(folder, f"{name}.onnx") for name in ("whole", "fused", "small"))
        onnx.save(model, whole)
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC  # fuses batch norm
        options.optimized_model_filepath = str(fused)
        ort.InferenceSession(whole, options, providers=["CPUExecutionProvider"])
        # Unsigned, which is the faster; in 7 bits, for processors without VNNI overflow with 8.
        quantize_dynamic(fused, small, weight_type=QuantType.QUInt8, reduce_range=True)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        return ort.InferenceSession(small.read_bytes(), options, providers=["CPUExecutionProvider"])


def seconds(embed, batches: list[np.ndarray]) -> float:
    start = time.process_time()
    for batch in batches:
        embed(batch)
    return time.process_time() - start


def tested(backbone: Backbone, folder: Path, cache: EmbeddingCache) -> float:
    """Return the AUROC of the default detector on the default looks at a set."""
    session = EncoderSession(Encoder((backbone,)), threads=1)
    train, normal, abnormal = (
        np.stack([image.embedding for image in embed_images(session, find_images([folder / part]), cache=cache)])
        for part in PARTS
    )
    detector = MSDEDetector().fit(train)
    return auroc(detector.anomaly_score(normal), detector.anomaly_score(abnormal))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--only", default="", help="sets whose name holds this word")
    arguments = parser.parse_args()
    whole = load_backbone(arguments.backbone)
    stored = {"float32": whole, "half": with_half_weights(whole), "int8": with_int8_weights(whole)}
    sessions = [EmbeddingSession(backbone, 1) for backbone in stored.values()]
    computed = dynamic(whole)
    embeds = [*(session.embed for session in sessions), lambda batch: computed.run(["embedding"], {"pixels": batch})[0]]
    batch = np.random.default_rng(0).random((BATCH, 3, whole.input_size, whole.input_size), np.float32)
    rounds = np.array([[seconds(embed, [batch]) for embed in embeds] for _ in range(ROUNDS)])
    ratios = np.median(rounds[:, :1] / rounds, axis=0)
    sizes = [f"{sum(weight.nbytes for weight in backbone.weights.values()) / 1e6:.1f}" for backbone in stored.values()]
    print_header("weights", ("speed", "MB", "alone", "difference"))
    expected = embeds[0](batch)
    for name, ratio, size, embed in zip((*stored, "dynamic"), ratios, (*sizes, ""), embeds, strict=True):
        found = embed(batch)
        alone = np.abs(embed(batch[:1]) - found[:1]).max() / np.abs(found).max()
        difference = np.abs(found - expected).max() / np.abs(expected).max()
        print(f"| {name} | {ratio:.2f} | {size} | {alone:.0e} | {difference:.0e} |", flush=True)

    cache = EmbeddingCache(arguments.cache)
    folders = [folder for folder, _ in shared_sets() if arguments.only in folder.name]
    figures = {name: [tested(backbone, folder, cache) for folder in folders] for name, backbone in stored.items()}
    print()
    print_header("set", (*stored, "half - float32", "int8 - float32"))
    rows = [(folder.name, of_set) for folder, *of_set in zip(folders, *figures.values(), strict=True)]
    for name, of_set in [*rows, ("**mean**", [np.mean(aurocs) for aurocs in figures.values()])]:
        differences = " | ".join(f"{other - of_set[0]:+.3f}" for other in of_set[1:])
        print(f"| {name} | {' | '.join(f'{area:.3f}' for area in of_set)} | {differences} |")


main()
