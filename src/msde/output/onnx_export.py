"""A model for other runtimes: its scoring path as ONNX, compared with the model itself before it is written."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msde import __version__
from msde.errors import ModelFileError
from msde.images import Part, read_squares
from msde.model.anomaly_model import AnomalyModel
from msde.output.model_card import model_card
from msde.output.score_table import as_json
from msde.output.scoring_graph import scoring_graph
from msde.storage.atomic import make_folder

GRAPH, WEIGHTS, CONFIG, CARD = "model.onnx", "model.onnx.data", "config.json", "README.md"
TOLERANCE = 1e-4
"""Relative difference of scores that is granted: networks add up 32 bits in another order."""
_LARGE = 1_900_000_000  # bytes: more does not fit into one file of the format


@dataclass(frozen=True)
class Parity:
    """How far the graph's scores lie from the model's."""

    images: int
    relative_difference: float  # the largest of the scores
    p_values_that_differ: int  # where a held-out normal scores the same to within that


def export_onnx(
    model: AnomalyModel, folder: Path, source: Mapping[str, str], images: Sequence[Path | Part] = ()
) -> Parity:
    """Write a model's scoring path as ONNX, with what a server has to know and a model card.

    Parameters
    ----------
    model : AnomalyModel
        Of a mode that scores an image alone.
    folder : Path
        Takes ``model.onnx``, ``config.json`` and ``README.md``; made where it is missing.
    source : mapping
        ``name`` and ``sha256`` of the model file.
    images : sequence of Path or Part, optional
        To compare on, beside pictures that are made for it.

    Returns
    -------
    Parity

    Raises
    ------
    ModelFileError
        If the graph says otherwise than the model; nothing is written then.
    """
    import onnx

    graph = scoring_graph(model.fitted)
    make_folder(folder)
    with TemporaryDirectory(dir=folder, prefix=".export-") as draft:
        large = graph.ByteSize() > _LARGE
        onnx.save_model(graph, f"{draft}/{GRAPH}", save_as_external_data=large, location=WEIGHTS if large else None)
        parity = _compare(model, f"{draft}/{GRAPH}", _pictures(model, images))
        (Path(draft) / CONFIG).write_text(as_json(_config(model, source, parity)), encoding="utf-8")
        card = "\n".join(model_card(model.info(), source["name"], {}))
        (Path(draft) / CARD).write_text(card + "\n", encoding="utf-8")
        for file in Path(draft).iterdir():
            shutil.move(file, folder / file.name)
    return parity


def _pictures(model: AnomalyModel, images: Sequence[Path | Part]) -> list[NDArray[np.float32]]:
    """Make the networks' input of pictures of all kinds, and of images, (n, 3, size, size) for each size."""
    rng = np.random.default_rng(0)
    side = np.linspace(0, 1, 96)
    made = [
        np.zeros((96, 96)),
        np.ones((96, 96)),
        np.add.outer(side, side) / 2,
        np.sin(np.add.outer(12 * side, 5 * side)) / 2 + 0.5,
        *(level * rng.uniform(size=(96, 96, 3)) for level in (0.05, 0.4, 1)),
    ]
    sources = [np.asarray(picture, np.float32) for picture in made] + list(images)
    squares = [np.empty((len(sources), 3, size, size), np.float32) for size in model.encoder.input_sizes]
    for number, picture in enumerate(sources):
        read_squares(picture, [batch[number] for batch in squares], model.rule)
    return squares


def _compare(model: AnomalyModel, graph: str, inputs: list[NDArray[np.float32]]) -> Parity:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    names = [taken.name for taken in session.get_inputs()]
    found, p_values, flagged = session.run(
        ["anomaly_score", "p_value", "flagged"], dict(zip(names, inputs, strict=True))
    )
    expected = model.scorer_.score(model.session.embed(inputs))
    off = np.abs(found - expected) / np.maximum(np.abs(expected), np.std(expected) + 1e-12)
    margin = TOLERANCE * np.maximum(np.abs(expected), 1e-12)
    calibration = model.calibration_
    lowest, highest = calibration.p_values(expected + margin), calibration.p_values(expected - margin)
    sound = (p_values >= lowest - 1e-12) & (p_values <= highest + 1e-12) & (flagged == (found > calibration.threshold))
    if not (np.isfinite(found).all() and off.max() <= TOLERANCE and sound.all()):
        raise ModelFileError(
            f"the graph's scores lie {off.max():.1e} from the model's, farther than {TOLERANCE:g}; nothing is written."
            " Another version of onnxruntime may compute otherwise"
        )
    differ = int((np.abs(p_values - calibration.p_values(expected)) > 1e-12).sum())
    return Parity(len(found), float(off.max()), differ)


def _config(model: AnomalyModel, source: Mapping[str, str], parity: Parity) -> dict[str, Any]:
    info = model.info()
    sizes = model.encoder.input_sizes
    inputs = {
        "pixels" if len(sizes) == 1 else f"pixels_{size}": {"type": "float32", "shape": ["n", 3, size, size]}
        for size in sizes
    }
    return {
        "format": "msde-onnx",
        "format_version": 1,
        "research_use_only": True,
        "msde": __version__,
        "model": dict(source),
        "inputs": inputs,
        "pixels": {"colour": "RGB, grey three times", "range": [0, 1], **info["images"]},
        "outputs": {
            "anomaly_score": {"type": "float64", "shape": ["n"], "about": "the higher, the less like the normals"},
            "p_value": {"type": "float64", "shape": ["n"], "about": "how often a normal scores at least as high"},
            "flagged": {"type": "bool", "shape": ["n"], "about": "whether the p-value is at most alpha"},
            "embedding": {"type": "float32", "shape": ["n", model.session.dim]},
        },
        "calibration": info["calibration"],
        "applies_to": info["applies_to"],
        "parity": asdict(parity),
    }
