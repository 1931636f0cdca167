"""One case as a row of the worklist's table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from msde.dicom import Identifiers
from msde.errors import MSDEError
from msde.images import read_pixels
from msde.method.calibration import Calibration
from msde.model.anomaly_model import AnomalyModel
from msde.model.explain import drawn
from msde.model.score import ImageScore
from msde.output.words import how_often
from msde.report.histogram import Histogram
from msde.report.names import Names
from msde.report.thumbnail import Thumbnail
from msde.report.worklist import MOST_HEAT, Case, Picture

LIST_SIDE, VIEWER_SIDE = 160, 512
ERRORS_SHOWN = 5


@dataclass(frozen=True)
class Scale:
    """What scores of one kind are compared with.

    Parameters
    ----------
    kind : str
        "image" or "volume".
    calibration : Calibration
        With at least one score.
    histogram : Histogram
        Of it.
    """

    kind: str
    calibration: Calibration
    histogram: Histogram

    @classmethod
    def of(cls, kind: str, calibration: Calibration | None) -> Scale | None:
        """Make a scale, or None where there are no held-out normals of the kind."""
        if calibration is None or not len(calibration.scores):
            return None
        return cls(kind, calibration, Histogram(calibration, f"normal-{kind}s"))

    def often(self, result: ImageScore) -> str:
        """Say the p-value of a result in words."""
        return how_often(result.p_value, len(self.calibration.scores), self.kind)


@dataclass(frozen=True)
class Rows:
    """Draws cases as rows.

    Parameters
    ----------
    model : AnomalyModel
    names : Names
        Of the images.
    images, volumes : Scale or None
        None where there is nothing to compare with.
    identifiers : bool, default=False
        Whether to state patient ID, study date and UIDs of DICOM images.
    """

    model: AnomalyModel
    names: Names
    images: Scale | None
    volumes: Scale | None
    identifiers: bool = False

    def draw(self, rank: int, case: Case) -> str:
        """Draw a case; its pictures are read again, and those that have gone are left out."""
        kinds = {"flagged": case.result.flagged, "volume": case.is_volume}
        classes = " ".join(kind for kind, holds in kinds.items() if holds)
        pictures = "".join(self._shot(rank, case, picture) for picture in case.pictures)
        return (
            f'<tr role="row" id="case-{rank}" class="{classes}"><td role="cell" class="rank">{rank}</td>'
            f'<td role="cell" class="pictures">{pictures}</td>'
            f'<th role="rowheader" scope="row" class="name">{self._name(rank, case)}</th>'
            f'<td role="cell" class="often">{self._often(case)}</td>'
            f'<td role="cell" class="score">{self._score(case)}</td></tr>\n'
        )

    def _name(self, rank: int, case: Case) -> str:
        name = f'<a href="#case-{rank}"><bdi>{escape(self.names.short(case.result.path))}</bdi></a>'
        if case.is_volume:
            name += f' <span class="quiet">{case.n_parts:,} slices</span>'
        if case.result.flagged:
            name += ' <span class="flag">flagged</span>'
        return name + (self._identifiers(case) if self.identifiers else "")

    def _identifiers(self, case: Case) -> str:
        found = Identifiers.of(*(picture.source for picture in case.pictures)) if case.pictures else Identifiers()
        said = [(f"{words} <bdi>{escape(value)}</bdi>", "UID" in words) for words, value in found.in_words() if value]
        kinds = {"quiet ids": "; ".join(text for text, is_uid in said if not is_uid)}
        kinds["quiet ids uids"] = "<br>".join(text for text, is_uid in said if is_uid)
        return "".join(f'<span class="{kind}">{text}</span>' for kind, text in kinds.items() if text)

    def _often(self, case: Case) -> str:
        result = case.result
        scale = self.volumes if case.is_volume else self.images
        notes = ["The model was fitted on it, so its score is too low."] if case.seen_in_training else []
        if result.error is not None:
            return self._errors(case)
        if not math.isnan(result.p_value) and scale:
            words = scale.often(result)
            said = f'{words[0].upper()}{words[1:]}. <span class="quiet">p&nbsp;=&nbsp;{result.p_value:.2g}.</span>'
        elif case.is_volume and self.images:
            said = "No p-value: the model is not calibrated on volumes."
            notes.append(f"Of the slices' scores, the highest: {self.images.often(case.pictures[0].result)}.")
        else:
            said = "No p-value: there are no held-out normals to compare with."
        return said + "".join(f' <span class="quiet">{note}</span>' for note in notes)

    def _errors(self, case: Case) -> str:
        lines = [self.names.shortened(result.error or "", result.path) for result in case.unusable]
        if len(lines) > ERRORS_SHOWN:
            lines[ERRORS_SHOWN:] = [f"and {len(lines) - ERRORS_SHOWN} more of its slices"]
        return f"No score.<ul class='errors'>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"

    def _score(self, case: Case) -> str:
        result = case.result
        scale = self.volumes if case.is_volume else self.images
        if math.isnan(result.anomaly_score):
            return ""
        if scale is None:
            return f"Score {result.anomaly_score:.4g}"
        threshold = scale.calibration.threshold
        limit = f", flagged above {threshold:.4g}" if math.isfinite(threshold) else ""
        return f"{scale.histogram.marked(result.anomaly_score)}Score {result.anomaly_score:.4g}{limit}"

    def _shot(self, rank: int, case: Case, picture: Picture) -> str:
        try:
            pixels = read_pixels(picture.source, self.model.rule)
        except MSDEError as error:
            reason = escape(self.names.shortened(str(error), picture.result.path))
            return f'<p class="quiet">Can no longer be shown: {reason}</p>'
        overlay = None
        if picture.maps is not None:
            heat = picture.maps.astype(np.float32) / np.float32(MOST_HEAT)
            overlay = drawn(self.model, picture.result, heat, pixels).overlay
        name = escape(self.names.short(picture.result.path))
        data: dict[str, Any] = {"large": Thumbnail.of(pixels, VIEWER_SIDE).uri}
        if picture.alike:
            data["alike"] = " ".join(map(str, picture.alike))
        shown = _img("plain" if overlay is None else "plain covered", Thumbnail.of(pixels, LIST_SIDE), name)
        if overlay is not None:
            data["overlay"] = Thumbnail.of(overlay, VIEWER_SIDE).uri
            shown += _img("overlay", Thumbnail.of(overlay, LIST_SIDE), f"{name}, with overlay")
        attributes = "".join(f' data-{key}="{value}"' for key, value in data.items())
        return f'<figure class="shot"{attributes}>{shown}{self._caption(case, picture)}</figure>'

    def _caption(self, case: Case, picture: Picture) -> str:
        if not case.is_volume:
            return ""
        p_value = picture.result.p_value
        figure = f"score {picture.result.anomaly_score:.4g}" if math.isnan(p_value) else f"p&nbsp;=&nbsp;{p_value:.2g}"
        label = self.names.short(picture.result.path).removeprefix(self.names.short(case.result.path))
        return f"<figcaption><bdi>{escape(label)}</bdi> {figure}</figcaption>"


def _img(kind: str, thumbnail: Thumbnail, alt: str) -> str:
    return (
        f'<img class="{kind}" src="{thumbnail.uri}" width="{thumbnail.width}" height="{thumbnail.height}" alt="{alt}"'
        ' loading="lazy" decoding="async">'
    )
