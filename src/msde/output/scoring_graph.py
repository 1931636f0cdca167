"""The whole scoring path of a model as one ONNX graph: pixels in, anomaly score, p-value and flag out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msde.backbones.backbone import CLASS_OUTPUT, Backbone
from msde.embedding.feature_spec import BRIGHTEST, CLS, DARKEST, FLATTEST, OWN, FeatureSpec
from msde.errors import ModelFileError
from msde.method.frozen_shift import FrozenShift
from msde.method.gaussian import Gaussian
from msde.method.labelled_abnormals import CONCENTRATION, STEEPEST
from msde.method.scorers import AdaptiveScorer, InductiveScorer, LabelledScorer
from msde.method.standardizer import KNEE, CompressingStandardizer
from msde.method.surroundings import FLOOR, Surroundings
from msde.method.weighing import WeighedDiscriminant
from msde.model.fitted import FittedModel
from msde.output.graph_builder import GraphBuilder

OUTPUTS = ("anomaly_score", "p_value", "flagged", "embedding")
_SHORTEST = 1e-12


def scoring_graph(fitted: FittedModel) -> Any:
    """Return the scoring path of a model as an ONNX model.

    Parameters
    ----------
    fitted : FittedModel
        Of a mode that scores an image alone.

    Returns
    -------
    onnx.ModelProto
        Takes `pixels`, (n, 3, size, size) float32, RGB in [0, 1]; with networks of several sizes `pixels_SIZE` each.
        Gives `anomaly_score` (n,) float64, `p_value` (n,) float64, `flagged` (n,) bool and `embedding` (n, d) float32.

    Raises
    ------
    ModelFileError
        If a score of the model depends on the batch.
    """
    if fitted.scorer.batchwise:
        raise ModelFileError("transductive scores depend on the batch, so there is no graph of one image; fit without")
    sizes = fitted.encoder.input_sizes
    names = {size: "pixels" if len(sizes) == 1 else f"pixels_{size}" for size in sizes}
    graph = GraphBuilder(fitted.encoder.backbones)
    for size, name in names.items():
        graph.takes(name, [None, 3, size, size])
    parts = []
    for number, backbone in enumerate(fitted.encoder.backbones):
        parts += _embedding_of(graph, number, backbone, fitted.encoder.looks_of(backbone), names[backbone.input_size])
    embedding = graph.named("embedding", parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1))
    score = graph.named("anomaly_score", _score(graph, fitted.scorer, embedding))
    calibration = fitted.images
    as_high = graph.add("GreaterOrEqual", graph.constant(calibration.scores), graph.column(score))
    counted = graph.sum(graph.cast(as_high, np.int64), axis=1)
    graph.named("p_value", graph.add("Gather", graph.constant(calibration.levels), counted))
    graph.named("flagged", graph.add("Greater", score, graph.constant(np.float64(calibration.threshold))))
    width = len(_standardizer(fitted.scorer).before.mean)
    for name, kind in zip(OUTPUTS, (np.float64, np.float64, np.bool_, np.float32), strict=True):
        graph.gives(name, kind, [None, width] if name == "embedding" else [None])
    return graph.model()


def _embedding_of(
    graph: GraphBuilder, number: int, backbone: Backbone, looks: Sequence[FeatureSpec], pixels: str
) -> list[str]:
    """Add one network, which sees all views in one pass, and what each look keeps of it."""
    views = sorted({view for look in looks for view in look.views})
    seen = [_VIEWS[view](graph, pixels, backbone.input_size) for view in views]
    outputs = graph.network(number, seen[0] if len(seen) == 1 else graph.add("Concat", *seen, axis=0))
    kept: list[str] = []
    for look in looks:
        if OWN in look.poolings or not backbone.levels:
            parts = [outputs["embedding"]]
        else:
            pooled = [
                _unit(
                    graph,
                    outputs[level + CLASS_OUTPUT] if pooling == CLS else _POOLINGS[pooling](graph, outputs[level]),
                )
                for pooling in look.poolings
                for level in look.levels or backbone.levels
            ]
            parts = [pooled[0] if len(pooled) == 1 else graph.add("Concat", *pooled, axis=1)]
        by_view = dict(zip(views, graph.split(parts[0], len(views)), strict=True))
        chosen = [by_view[view] for view in look.views]
        total = chosen[0]
        for other in chosen[1:]:
            total = graph.add("Add", total, other)
        kept.append(graph.add("Div", total, graph.constant(np.float32(len(chosen)))))
    return kept


def _stretched(graph: GraphBuilder, pixels: str, size: int) -> str:
    thin = graph.slice(pixels, starts=[0, 0], ends=[size, size], axes=[2, 3], steps=[2, 2])
    n = 3 * (-(-size // 2)) ** 2
    sample = graph.add("Reshape", thin, graph.constant(np.array([0, -1], np.int64)))
    low_place, high_place = (round(quantile * (n - 1)) for quantile in (DARKEST, BRIGHTEST))
    low = graph.last_of_top(sample, low_place + 1, largest=False)
    high = graph.last_of_top(sample, n - high_place, largest=True)
    four = graph.constant(np.array([-1, 1, 1, 1], np.int64))
    low, high = graph.add("Reshape", low, four), graph.add("Reshape", high, four)
    width = graph.add("Max", graph.add("Sub", high, low), graph.constant(np.float32(FLATTEST)))
    seen = graph.add("Div", graph.add("Sub", pixels, low), width)
    return graph.add("Clip", seen, graph.constant(np.float32(0)), graph.constant(np.float32(1)))


def _mirrored(graph: GraphBuilder, pixels: str, size: int) -> str:
    return graph.slice(pixels, starts=[size - 1], ends=[-size - 1], axes=[3], steps=[-1])


_VIEWS = {"plain": lambda graph, pixels, size: pixels, "mirrored": _mirrored, "stretched": _stretched}


def _mean(graph: GraphBuilder, maps: str) -> str:
    return graph.over_places("ReduceMean", maps)


def _deviation(graph: GraphBuilder, maps: str) -> str:
    offsets = graph.add("Sub", maps, graph.over_places("ReduceMean", maps, keep=True))
    return graph.add("Sqrt", graph.over_places("ReduceMean", graph.add("Mul", offsets, offsets)))


def _largest(graph: GraphBuilder, maps: str) -> str:
    return graph.over_places("ReduceMax", maps)


def _generalised_mean(graph: GraphBuilder, maps: str) -> str:
    positive = graph.add("Max", maps, graph.constant(np.float32(0)))
    powered = graph.add("Pow", positive, graph.constant(np.float32(3)))
    return graph.add("Pow", graph.over_places("ReduceMean", powered), graph.constant(np.float32(1 / 3)))


_POOLINGS = {"mean": _mean, "std": _deviation, "max": _largest, "gem": _generalised_mean}


def _unit(graph: GraphBuilder, rows: str) -> str:
    length = graph.add("Sqrt", graph.sum(graph.add("Mul", rows, rows), axis=1, keep=True))
    return graph.add("Div", rows, graph.add("Max", length, graph.constant(np.float32(_SHORTEST))))


def _standardizer(scorer: Any) -> CompressingStandardizer:
    found: CompressingStandardizer = scorer.standardizer
    return found


def _score(graph: GraphBuilder, scorer: Any, embedding: str) -> str:
    """Add what a scorer does, in 64 bits."""
    standard = _standardised(graph, scorer.standardizer, graph.cast(embedding, np.float64))
    normal = scorer.scorer if isinstance(scorer, LabelledScorer) else scorer
    inductive = normal if isinstance(normal, InductiveScorer) else normal.inductive
    measured = standard if inductive.shift is None else _displacement(graph, inductive.shift, standard)
    distance = _mahalanobis(graph, inductive.gaussian, measured)
    if isinstance(scorer, LabelledScorer):
        score = _blended(graph, scorer, distance, standard)
        return _with_direction(graph, scorer, score, measured) if scorer.direction else score
    if isinstance(scorer, AdaptiveScorer):
        return _with_direction(graph, scorer, distance, measured)
    return distance


def _standardised(graph: GraphBuilder, standardizer: CompressingStandardizer, rows: str) -> str:
    before, after = standardizer.before, standardizer.after
    rows = graph.linear(rows, before.mean, before.deviation * np.float64(KNEE))
    # asinh, which runtimes have for 32 bits alone; the sign is taken out, for the root less x would lose digits
    size = graph.add("Abs", rows)
    root = graph.add("Sqrt", graph.add("Add", graph.add("Mul", rows, rows), graph.constant(np.float64(1))))
    compressed = graph.add("Mul", graph.add("Sign", rows), graph.add("Log", graph.add("Add", size, root)))
    return graph.linear(compressed, after.mean, after.deviation)


def _displacement(graph: GraphBuilder, shift: FrozenShift, standard: str) -> str:
    axes = graph.constant(shift.axes.astype(np.float64))
    offsets = graph.add("Sub", standard, graph.constant(shift.centre))
    start = position = graph.add("MatMul", offsets, axes)
    weights = graph.constant(shift.weights.astype(np.float64))
    k = min(shift.n_neighbors, len(shift.weights))
    rate = graph.constant(np.float64(shift.learning_rate))
    for step in range(len(shift.layers)):
        layer = graph.halves(shift.layers[step])  # kept in 16 bits, as in the model file
        turned = graph.add("Transpose", layer, perm=[1, 0])
        products = graph.add("MatMul", graph.add("Mul", position, graph.constant(np.float64(-2))), turned)
        closeness = graph.add("Add", products, graph.constant(shift.squared_norms[step]))
        nearest = graph.top(closeness, k, largest=False)[1]
        shares = graph.add("Gather", weights, nearest)
        total = graph.add("Max", graph.sum(shares, axis=1, keep=True), graph.constant(np.finfo(np.float64).tiny))
        pulls = graph.add("Unsqueeze", graph.add("Div", shares, total), graph.constant(np.array([1], np.int64)))
        mean = graph.add("MatMul", pulls, graph.add("Gather", layer, nearest))
        mean = graph.add("Squeeze", mean, graph.constant(np.array([1], np.int64)))
        position = graph.add("Add", position, graph.add("Mul", rate, graph.add("Sub", mean, position)))
    kept = (1 - shift.learning_rate) ** len(shift.layers)
    outside = graph.add("Mul", offsets, graph.constant(np.float64(kept - 1)))
    moved = graph.add("Sub", position, graph.add("Mul", start, graph.constant(np.float64(kept))))
    return graph.add("Add", outside, graph.add("MatMul", moved, graph.add("Transpose", axes, perm=[1, 0])))


def _mahalanobis(graph: GraphBuilder, gaussian: Gaussian, rows: str) -> str:
    offsets = graph.add("Sub", rows, graph.constant(gaussian.mean.astype(np.float64)))
    white = graph.add("MatMul", offsets, graph.constant(gaussian.whitening.astype(np.float64)))
    squared = graph.squared_length(white)
    if gaussian.outside:
        lengths = np.sqrt(np.einsum("ij,ij->j", gaussian.whitening, gaussian.whitening))
        along = graph.squared_length(graph.add("Div", white, graph.constant(lengths)))
        left = graph.add("Sub", graph.squared_length(offsets), along)
        left = graph.add("Max", left, graph.constant(np.float64(0)))
        squared = graph.add("Add", squared, graph.add("Mul", left, graph.constant(np.float64(gaussian.outside))))
    return graph.add("Sqrt", squared)


def _with_direction(graph: GraphBuilder, scorer: Any, score: str, measured: str) -> str:
    direction = scorer.direction
    offsets = graph.add("Sub", measured, graph.constant(direction.origin))
    along = graph.add("Squeeze", graph.add("MatMul", offsets, graph.constant(direction.axis[:, None])), graph.ones)
    weight, of_score = direction.weight, 1.0
    if weight is None:  # of older model files
        weight, of_score = direction.gate, (1 - direction.gate) * np.sqrt(2)
    scaled = graph.add("Mul", score, graph.constant(np.float64(of_score)))
    return graph.add("Add", scaled, graph.add("Mul", along, graph.constant(np.float64(weight))))


def _blended(graph: GraphBuilder, scorer: LabelledScorer, distance: str, standard: str) -> str:
    """Add how like the labelled images a row is, against the normals near it, and what that adds to its distance."""
    normals, blend = scorer.likeness.normals, scorer.blend
    lengths = graph.column(_mahalanobis(graph, normals, standard))
    lengths = graph.add("Max", lengths, graph.constant(np.finfo(np.float64).tiny))
    offsets = graph.add("Sub", standard, graph.constant(normals.mean.astype(np.float64)))
    cosines = graph.add("Div", graph.add("MatMul", offsets, graph.constant(scorer.likeness.labelled.T)), lengths)
    powers = graph.add("Exp", graph.add("Mul", cosines, graph.constant(np.float64(CONCENTRATION))))
    likeness = graph.add("Log", graph.mean(powers, axis=1))
    likeness = graph.add("Div", likeness, graph.constant(np.float64(CONCENTRATION)))
    if scorer.surroundings is not None and scorer.usual is not None:
        near = _near(graph, scorer.surroundings, standard)
        likeness = _relative(graph, scorer.usual, likeness, near)
        if scorer.discriminant is not None:
            likeness = _weighed(graph, scorer.discriminant, likeness, standard, near)
    deviations = graph.linear(likeness, blend.likeness_mean, blend.likeness_deviation)
    grown = graph.add("Mul", deviations, graph.constant(np.float64(blend.slope)))
    odds = graph.add("Exp", graph.add("Min", grown, graph.constant(np.float64(STEEPEST))))
    known = graph.add("Mul", odds, graph.constant(np.float64(blend.prior)))
    gain = graph.add("Log", graph.add("Add", known, graph.constant(np.float64(1 - blend.prior))))
    return graph.add("Add", distance, graph.add("Mul", gain, graph.constant(np.float64(blend.distance_deviation))))


def _near(graph: GraphBuilder, surroundings: Surroundings, standard: str) -> str:
    offsets = graph.add("Sub", standard, graph.constant(surroundings.centre))
    places = graph.add("MatMul", offsets, graph.constant(surroundings.axes))
    far = graph.add("Sub", graph.add("Unsqueeze", places, graph.ones), graph.constant(surroundings.places[None]))
    return graph.top(graph.sum(graph.add("Mul", far, far), axis=2), surroundings.n_near, largest=False)[1]


def _relative(graph: GraphBuilder, usual: NDArray[np.float64], likeness: str, near: str) -> str:
    of_near = graph.add("Gather", graph.constant(usual), near)
    middle = graph.mean(of_near, axis=1, keep=True)
    spread = graph.add("Sub", of_near, middle)
    variance = graph.mean(graph.add("Mul", spread, spread), axis=1)
    floor = graph.constant(np.float64(FLOOR * float(usual.var())))
    width = graph.add("Max", graph.add("Add", variance, floor), graph.constant(np.finfo(np.float64).tiny))
    middle = graph.add("Squeeze", middle, graph.ones)
    return graph.add("Div", graph.add("Sub", likeness, middle), graph.add("Sqrt", width))


def _weighed(graph: GraphBuilder, weighed: WeighedDiscriminant, likeness: str, standard: str, near: str) -> str:
    """Add what a discriminant tells beside the likeness."""
    discriminant, weighing = weighed.fitted, weighed.weighing
    odds = graph.add("MatMul", standard, graph.constant(discriminant.weights[:, None]))
    odds = graph.add("Add", graph.add("Squeeze", odds, graph.ones), graph.constant(np.float64(discriminant.intercept)))
    usual = graph.mean(graph.add("Gather", graph.constant(weighed.usual), near), axis=1)
    odds = graph.linear(graph.add("Sub", odds, usual), weighing.odds_mean, weighing.odds_deviation)
    like = graph.linear(likeness, weighing.likeness_mean, weighing.likeness_deviation)
    parts = [(like, 1 - weighing.share), (odds, weighing.share)]
    return graph.add("Add", *(graph.add("Mul", part, graph.constant(np.float64(share))) for part, share in parts))
