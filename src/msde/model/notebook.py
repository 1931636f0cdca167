"""What a notebook shows of models and scores: small tables as HTML, with pictures where these can be read.

The classes that are shown import this module, so it knows them by what it reads of them alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from msde.errors import MSDEError
from msde.images import read_pixels
from msde.images.thumbnail import Thumbnail

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SIDE = 224
SLICES = 3
_CELL = "text-align:left;vertical-align:top;padding:2px 14px 2px 0"
_NOTICE = "For research use only; not a medical device."


def score_html(score: Any) -> str:
    """Draw a score: the image, or the highest slices of a volume, beside what the model says of it."""
    parts = sorted((part for part in score.parts if part.error is None), key=lambda part: -part.anomaly_score)
    return _beside([picture for shown in (parts[:SLICES] or [score]) for picture in _pictures(shown)], _said(score))


def explanation_html(explanation: Any) -> str:
    """Draw an image, where it differs, and what the model says of it."""
    pictures = [_img(explanation.pixels, "Image"), _img(explanation.overlay, "Where it differs from the normals")]
    return _beside(pictures, _said(explanation.score))


def model_html(names: Iterable[str], fitted: Any | None) -> str:
    """Draw a model: its networks, what it was fitted on, and what its flags promise."""
    networks = {"Networks": ", ".join(names)}
    if fitted is None:
        return _beside([], _facts("AnomalyModel, not fitted", networks))
    info: dict[str, Any] = fitted.describe()
    calibration = info["calibration"]
    facts = {
        **networks,
        "Mode": info["mode"],
        "Fitted on": f"{info['training']['images']:,} normal images",
        "Labelled abnormal": fitted.labels.in_words() if fitted.labels else "",
        "Flags": "none: scores depend on the batch" if fitted.scorer.batchwise else _flags(calibration),
        "Heat maps": "yes" if info["heatmaps"] else "no",
    }
    return _beside([], _facts("AnomalyModel", {name: fact for name, fact in facts.items() if fact}))


def _flags(calibration: Mapping[str, Any]) -> str:
    if calibration["threshold"] is None:
        return f"none: {calibration['units']:,} held-out normals are too few at {calibration['alpha']:.3g}"
    low, high = calibration["false_alarm_range"]
    return (
        f"above a score of {calibration['threshold']:.4g}, where {calibration['alpha']:.1%} of normal images are"
        f" expected; with this model {low:.1%} to {high:.1%} (90 % range)"
    )


def _said(score: Any) -> str:
    facts = {"Anomaly score": f"{score.anomaly_score:.4g}"}
    if score.p_value == score.p_value:
        facts["p-value"] = f"{score.p_value:.2g}, the share of normals that score at least as high"
    if score.flagged is not None:
        facts["Flagged"] = "yes" if score.flagged else "no"
    if score.evidence:
        facts["Evidence"] = score.evidence
    if score.parts:
        facts["Slices"] = f"{len(score.parts):,}"
    if score.error is not None:
        facts = {"No score": score.error}
    return _facts(score.path, facts)


def _pictures(score: Any) -> list[str]:
    """Return the picture of an image, or none where it cannot be read any more, or was in memory."""
    try:
        return [_img(read_pixels(source), score.path) for source in score.sources]
    except MSDEError:
        return []


def _img(pixels: NDArray[np.float32] | NDArray[np.uint8], alt: str) -> str:
    small = Thumbnail.of(pixels, SIDE)
    return f'<img src="{small.uri}" width="{small.width}" height="{small.height}" alt="{escape(alt)}">'


def _facts(title: str, facts: Mapping[str, str]) -> str:
    rows = "".join(
        f'<tr><th style="{_CELL}">{escape(name)}</th><td style="{_CELL}">{escape(fact)}</td></tr>'
        for name, fact in facts.items()
    )
    return f"<div><strong><bdi>{escape(title)}</bdi></strong><table>{rows}</table><small>{_NOTICE}</small></div>"


def _beside(pictures: Iterable[str], facts: str) -> str:
    return f'<div style="display:flex;flex-wrap:wrap;gap:12px;align-items:flex-start">{"".join(pictures)}{facts}</div>'
