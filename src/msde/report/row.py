"""One case as a row of the worklist's table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from msde.errors import MSDEError
from msde.images import read_pixels
from msde.images.patient_identifiers import Identifiers
from msde.images.thumbnail import Thumbnail
from msde.method.calibration import Calibration
from msde.model.anomaly_model import AnomalyModel
from msde.model.explanation import Explanation
from msde.model.labels import LABELLED
from msde.model.score import ImageScore
from msde.output.words import how_often
from msde.report.histogram import Histogram
from msde.report.names import Names
from msde.report.worklist import MOST_HEAT, Case, Picture

LIST_SIDE, VIEWER_SIDE = 160, 512
ERRORS_SHOWN = 5


@dataclass(frozen=True)
class HeldOutScores:
    """What scores of one kind are compared with."""

    kind: str  # "image" or "volume"
    calibration: Calibration  # with at least one score
    histogram: Histogram

    @classmethod
    def of(cls, kind: str, calibration: Calibration | None) -> HeldOutScores | None:
        """Return None where there are no held-out normals of the kind."""
        if calibration is None or not len(calibration.scores):
            return None
        return cls(kind, calibration, Histogram(calibration, f"normal-{kind}s"))

    def often(self, score: ImageScore) -> str:
        """Return the p-value of a score in words."""
        return how_often(score.p_value, len(self.calibration.scores), self.kind)


@dataclass(frozen=True)
class Rows:
    """Draws cases as rows."""

    model: AnomalyModel
    names: Names  # of the images
    images: HeldOutScores | None  # None where there is nothing to compare with
    volumes: HeldOutScores | None  # likewise
    identifiers: bool = False  # whether to state patient ID, study date and UIDs of DICOM images

    def draw(self, rank: int, case: Case) -> str:
        """Draw a case; its pictures are read again, and those that have gone are left out."""
        like = case.score.flagged and (case.score.evidence or "").startswith(LABELLED)
        kinds = {"flagged": case.score.flagged, "volume": case.score.is_volume, "like": like}
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
        name = f'<a href="#case-{rank}"><bdi>{escape(self.names.short(case.score.path))}</bdi></a>'
        if case.score.is_volume:
            name += f' <span class="quiet">{len(case.score.parts):,} slices</span>'
        if case.score.flagged:
            name += ' <span class="flag">flagged</span>'
        return name + (self._identifiers(case) if self.identifiers else "")

    def _identifiers(self, case: Case) -> str:
        found = Identifiers.of(*(source for picture in case.pictures for source in picture.score.sources))
        said = [(f"{words} <bdi>{escape(value)}</bdi>", "UID" in words) for words, value in found.in_words() if value]
        kinds = {"quiet ids": "; ".join(text for text, is_uid in said if not is_uid)}
        kinds["quiet ids uids"] = "<br>".join(text for text, is_uid in said if is_uid)
        return "".join(f'<span class="{kind}">{text}</span>' for kind, text in kinds.items() if text)

    def _often(self, case: Case) -> str:
        score = case.score
        held_out = self.volumes if case.score.is_volume else self.images
        notes = ["The model was fitted on it, so its score is too low."] if case.seen_in_training else []
        if case.in_pool:
            notes.append("It was in the unlabelled pool that the model has learned from.")
        if case.patient is not None and not math.isnan(case.patient.p_value) and self.model.patients_:
            often = how_often(case.patient.p_value, self.model.patients_.n_patients, "patient")
            notes.append(
                f"Of the patient's {case.patient.images:,} images together: {often}"
                f" (p&nbsp;=&nbsp;{case.patient.p_value:.2g})."
            )
        if score.error is not None:
            return self._errors(case)
        if not math.isnan(score.p_value) and held_out:
            words = held_out.often(score)
            said = f'{words[0].upper()}{words[1:]}. <span class="quiet">p&nbsp;=&nbsp;{score.p_value:.2g}.</span>'
        elif case.score.is_volume and self.images:
            said = "No p-value: the model is not calibrated on volumes."
            notes.append(f"Of the slices' scores, the highest: {self.images.often(case.pictures[0].score)}.")
        else:
            said = "No p-value: there are no held-out normals to compare with."
        if score.flagged and score.evidence:
            notes.append(f"{escape(score.evidence[0].upper() + score.evidence[1:])}.")
        return said + "".join(f' <span class="quiet">{note}</span>' for note in notes)

    def _errors(self, case: Case) -> str:
        lines = [self.names.shorten(score.error or "", score.path) for score in case.unusable]
        if len(lines) > ERRORS_SHOWN:
            lines[ERRORS_SHOWN:] = [f"and {len(lines) - ERRORS_SHOWN} more of its slices"]
        return f"No score.<ul class='errors'>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"

    def _score(self, case: Case) -> str:
        score = case.score
        held_out = self.volumes if case.score.is_volume else self.images
        if math.isnan(score.anomaly_score):
            return ""
        if held_out is None:
            return f"Score {score.anomaly_score:.4g}"
        threshold = held_out.calibration.threshold
        limit = f", flagged above {threshold:.4g}" if math.isfinite(threshold) else ""
        return f"{held_out.histogram.marked(score.anomaly_score)}Score {score.anomaly_score:.4g}{limit}"

    def _shot(self, rank: int, case: Case, picture: Picture) -> str:
        try:
            pixels = read_pixels(picture.score.sources[0], self.model.rule)
        except MSDEError as error:
            reason = escape(self.names.shorten(str(error), picture.score.path))
            return f'<p class="quiet">Can no longer be shown: {reason}</p>'
        overlay = None
        if picture.heat is not None:
            heat = picture.heat.astype(np.float32) / np.float32(MOST_HEAT)
            overlay = Explanation.of(picture.score, heat, pixels, self.model.rule, self.model.colours).overlay
        name = escape(self.names.short(picture.score.path))
        data: dict[str, Any] = {"large": Thumbnail.of(pixels, VIEWER_SIDE).uri}
        for key, numbers in (("alike", picture.alike), ("labelled", picture.labelled)):
            if numbers:
                data[key] = " ".join(map(str, numbers))
        shown = _img("plain" if overlay is None else "plain covered", Thumbnail.of(pixels, LIST_SIDE), name)
        if overlay is not None:
            data["overlay"] = Thumbnail.of(overlay, VIEWER_SIDE).uri
            shown += _img("overlay", Thumbnail.of(overlay, LIST_SIDE), f"{name}, with overlay")
        attributes = "".join(f' data-{key}="{value}"' for key, value in data.items())
        return f'<figure class="shot"{attributes}>{shown}{self._caption(case, picture)}</figure>'

    def _caption(self, case: Case, picture: Picture) -> str:
        if not case.score.is_volume:
            return ""
        p_value = picture.score.p_value
        figure = f"score {picture.score.anomaly_score:.4g}" if math.isnan(p_value) else f"p&nbsp;=&nbsp;{p_value:.2g}"
        label = self.names.short(picture.score.path).removeprefix(self.names.short(case.score.path))
        return f"<figcaption><bdi>{escape(label)}</bdi> {figure}</figcaption>"


def _img(kind: str, thumbnail: Thumbnail, alt: str) -> str:
    return (
        f'<img class="{kind}" src="{thumbnail.uri}" width="{thumbnail.width}" height="{thumbnail.height}" alt="{alt}"'
        ' loading="lazy" decoding="async">'
    )
