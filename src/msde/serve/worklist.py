"""What the page lists and counts."""

from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, String, and_, cast, func, or_, select
from sqlalchemy.orm import Session

from msde.method.calibration import Calibration
from msde.method.drift import Drift, measure_drift
from msde.method.metrics import wilson
from msde.method.predictive_value import PREVALENCE
from msde.model.labels import LABELLED, UNLIKE
from msde.model.verdicts import DISPUTED
from msde.output.words import at_most_told, how_often, how_sure
from msde.serve import readings
from msde.serve.asked import Asked, Choices, Group, Sought
from msde.serve.errors import NotFound
from msde.serve.identifiers import Identifiers
from msde.serve.models import Current, Models
from msde.serve.reading import Verdict as VerdictGiven
from msde.serve.schemas import OfPatient, Pseudonyms, Row, Tally, Together
from msde.serve.search import pseudonym
from msde.serve.storage.database import Database
from msde.serve.storage.queue import WAITING
from msde.serve.storage.store import SERIES
from msde.serve.storage.tables import Image, Score, Verdict, Version

DRIFT_IMAGES = 500
_TO_READ = and_(Image.verdict.is_(None), Score.state != "unsuited")

SORTS: dict[str, Any] = {
    "p_value": Score.p_value,
    "anomaly_score": Score.anomaly_score,
    "arrived": Image.arrived,
    "name": Image.name,
    "verdict": Image.verdict,
    "state": Score.state,
}


def select_rows(current: Current) -> Any:
    """Select the latest score of each image by a model, with its image and version."""
    return (
        select(Image, Score, Version)
        .join(Score, Score.image_id == Image.id)
        .join(Version, Version.id == Score.version_id)
        .where(Score.model_id == current.model_id, Score.shown)
    )


def conditions(
    current: Current, asked: Asked, user: str, found: ColumnElement[bool] | None
) -> list[ColumnElement[bool]]:
    """Turn the filters of the worklist into conditions.

    Parameters
    ----------
    current : Current
    asked : Asked
    user : str
        Who asks.
    found : ColumnElement or None
        What is searched for, see :mod:`msde.serve.search`.
    """
    chosen = [] if found is None else [found]
    if asked.state is not None:
        chosen.append(Score.state.in_(WAITING) if asked.state == "queued" else Score.state == asked.state)
    if asked.flagged is not None:
        above = Score.p_value <= current.highest_p
        chosen.append(above if asked.flagged else or_(Score.p_value > current.highest_p, Score.p_value.is_(None)))
    if asked.verdict is not None:
        chosen.append(Image.verdict.is_(None) if asked.verdict == "none" else Image.verdict == asked.verdict)
    if asked.evidence is not None:
        chosen.append(Score.evidence.startswith(LABELLED) if asked.evidence == "like" else Score.evidence == UNLIKE)
    if asked.assigned is not None:
        of = {"me": Image.assigned == user, "nobody": Image.assigned.is_(None), "others": Image.assigned != user}
        chosen.append(of[asked.assigned])
    chosen += [
        column == value
        for column, value in ((Image.modality, asked.modality), (Image.body_part, asked.body_part))
        if value is not None
    ]
    if asked.since is not None:
        chosen.append(Image.arrived >= _in_utc(asked.since))
    if asked.until is not None:
        chosen.append(Image.arrived < _in_utc(asked.until))
    for of_image, column in ((asked.study_of, Image.study), (asked.patient_of, Image.patient)):
        if of_image is not None:
            same = select(column).where(Image.id == of_image).correlate(None).scalar_subquery()
            chosen.append(or_(column == same, Image.id == of_image))
    return chosen


def _in_utc(moment: datetime) -> datetime:
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:  # at the ends of time
        return moment.replace(tzinfo=UTC)


def page(
    session: Session, current: Current, filters: list[ColumnElement[bool]], asked: Asked
) -> tuple[int, list[tuple[Image, Score, Version, Together | None]]]:
    """Read one page of the worklist; return the number of all lines too."""
    rows, order = select_rows(current).where(*filters), _order(asked)
    heads, key = _heads(current, rows, order, asked.group)
    if key is None:
        counted = select(func.count()).select_from(rows.with_only_columns(Score.id).subquery())
        found: Any = session.execute(heads.order_by(*order).limit(asked.limit).offset(asked.offset))
        return session.scalar(counted) or 0, [(image, score, version, None) for image, score, version in found]
    lines: Any = session.execute(heads.add_columns(key).order_by(*order).limit(asked.limit).offset(asked.offset)).all()
    total = session.scalar(rows.with_only_columns(func.count(key.distinct()))) or 0
    together = _together(session, current, rows, key, [of for *_, of in lines])
    return total, [(image, score, version, together[of]) for image, score, version, of in lines]


def place(session: Session, current: Current, filters: list[ColumnElement[bool]], sought: Sought) -> int | None:
    """Find the first line from one on, and from the top where none follows, that has what is sought; None for none."""
    rows, order = select_rows(current).where(*filters), _order(sought)
    heads, key = _heads(current, rows, order, sought.group)
    has = _TO_READ if sought.image is None else Image.id == sought.image
    if key is not None:
        has = key.in_(rows.with_only_columns(key).where(has).correlate(None))
    number = (func.row_number().over(order_by=order) - 1).label("place")
    lines = heads.with_only_columns(number, has.label("has")).subquery().c
    chosen = select(lines.place).where(lines.has).order_by(lines.place < sought.offset, lines.place).limit(1)
    return session.scalar(chosen)


def _heads(current: Current, rows: Any, order: list[ColumnElement[Any]], group: Group) -> tuple[Any, Any]:
    """Select the first image of each line; give what tells lines apart too, None where each image is one."""
    if group == "image":
        return rows, None
    key = func.coalesce(Image.study if group == "study" else Image.patient, "image " + cast(Image.id, String))
    first = func.row_number().over(partition_by=key, order_by=order).label("place")
    ranked = rows.with_only_columns(Score.id, first).subquery()
    heads = select_rows(current).join(ranked, ranked.c.id == Score.id).where(ranked.c.place == 1)
    return heads, key


def _together(session: Session, current: Current, rows: Any, key: Any, keys: list[str]) -> dict[str, Together]:
    """Count the images of some lines alone, which is cheaper than for all from which they are chosen."""
    every = [func.count(), func.count().filter(Score.p_value <= current.highest_p)]
    every += [func.count().filter(Score.state.in_(WAITING)), func.count().filter(_TO_READ)]
    counts: Any = session.execute(rows.with_only_columns(key, *every).where(key.in_(keys)).group_by(key))
    return {of: Together(**dict(zip(Together.model_fields, numbers, strict=True))) for of, *numbers in counts}


def _order(asked: Asked) -> list[ColumnElement[Any]]:
    descending = (asked.order or ("desc" if asked.sort == "arrived" else "asc")) == "desc"
    key = SORTS[asked.sort]
    order = [(key.desc() if descending else key.asc()).nulls_last()]
    if asked.sort == "p_value":  # the lowest possible p-value is often shared
        order.append(Score.anomaly_score.desc().nulls_last() if not descending else Score.anomaly_score.nulls_last())
    order.append(Score.id.desc() if descending else Score.id.asc())
    return order


def choices(session: Session, current: Current) -> Choices:
    """List modalities and body parts of the images of a model."""

    def stated(column: Any) -> list[str]:
        of_model = select(column).join(Score, Score.image_id == Image.id)
        found = session.scalars(of_model.where(Score.model_id == current.model_id, Score.shown).distinct())
        return sorted(value for value in found if value)

    return Choices(modalities=stated(Image.modality), body_parts=stated(Image.body_part))


def row(
    current: Current,
    threshold: float,
    image: Image,
    score: Score,
    version: Version,
    *,
    together: Together | None = None,
    identifiers: Identifiers | None = None,
    patient: OfPatient | None = None,
) -> Row:
    """Put one line of the worklist together.

    Parameters
    ----------
    current : Current
    threshold : float
        Score above which the current version flags an image.
    image, score, version
        Rows of the tables.
    together : Together, optional
        Of the images that it stands for.
    identifiers : Identifiers, optional
    patient : OfPatient, optional
    """
    volume = image.suffix == SERIES or score.n_parts > 1
    p_value = score.p_value
    return Row.model_validate(
        {
            "id": image.id,
            "name": image.name,
            "kind": "volume" if volume else "image",
            "format": image.format,
            "modality": image.modality,
            "origin": image.origin,
            "arrived": image.arrived,
            "version": version.number,
            "state": "queued" if score.state in WAITING else score.state,
            "anomaly_score": score.anomaly_score,
            "p_value": p_value,
            "words": None if p_value is None or volume else how_often(p_value, version.normals),
            "flagged": None if p_value is None else p_value <= current.highest_p,
            "error": score.error,
            "n_parts": score.n_parts,
            "seen_in_training": score.seen_in_training,
            "evidence": score.evidence,
            "verdict": image.verdict,
            "readers": image.readers,
            "purged": image.purged,
            "body_part": image.body_part or None,
            "assigned": image.assigned,
            "pseudonyms": {name: pseudonym(getattr(image, name)) for name in Pseudonyms.model_fields}
            if image.patient or image.study
            else None,
            "identifiers": identifiers,
            "together": together,
            "patient": patient,
            "threshold": finite(threshold) if version.id == current.version_id and not volume else None,
        }
    )


def tally(session: Session, current: Current, calibration: Calibration, prevalence: float = PREVALENCE) -> Tally:
    """Count false alarms among the images that readers call normal, by the model's latest scores.

    Images about which readers contradict each other are neither normal nor abnormal, and those that the model has
    learnt from tell nothing of it. The interval is Wilson's (1927), 95 %. What a flag tells is said for this share of
    abnormal images.
    """
    flags = math.isfinite(calibration.threshold)
    above = Score.p_value <= current.highest_p
    query = (
        select(Image.verdict, Score.seen_in_training, above.label("above"), func.count())
        .join(Score, Score.image_id == Image.id)
        .where(Score.model_id == current.model_id, Score.shown, Score.p_value.is_not(None))
        .group_by(Image.verdict, Score.seen_in_training, above)
    )
    counts: Counter[tuple[str | None, bool]] = Counter()
    for verdict, seen, flagged, n in session.execute(query):
        counts[None if seen else verdict, bool(flagged)] += n
    normals = counts["normal", True] + counts["normal", False]
    false_alarms = counts["normal", True]
    return Tally(
        alpha=current.alpha,
        threshold=finite(calibration.threshold),
        expected=current.alpha,
        confirmed_normals=normals,
        false_alarms=false_alarms,
        rate=false_alarms / normals if normals else None,
        interval=wilson(false_alarms, normals) if normals else None,
        confirmed_abnormals=counts["abnormal", True] + counts["abnormal", False],
        found=counts["abnormal", True],
        images=sum(counts.values()),
        flagged=sum(n for (_, flagged), n in counts.items() if flagged),
        sure=how_sure(calibration) if flags else None,
        told=at_most_told(current.alpha, prevalence) if flags else None,
        disputed=counts[DISPUTED, True] + counts[DISPUTED, False],
        pairs=readings.pairs(session, current),
    )


def drift_of(database: Database, models: Models, current: Current) -> Drift:
    """Compute whether the latest images look like the normals that the current version is calibrated on."""
    with database.read() as session:
        scores = latest_scores(session, current)
    calibration = models.calibration(current)
    return measure_drift(calibration.scores, scores, calibration_groups=calibration.groups)


def latest_scores(session: Session, current: Current) -> list[float]:
    """Read the scores of the latest images, volumes aside, that the current version has scored."""
    latest = (
        select(Score.anomaly_score)
        .where(
            and_(
                Score.version_id == current.version_id,
                Score.state == "scored",
                Score.n_parts == 1,
                Score.anomaly_score.is_not(None),
            )
        )
        .order_by(Score.id.desc())
        .limit(DRIFT_IMAGES)
    )
    return [score for score in session.scalars(latest) if score is not None]


def find_image(database: Database, image_id: int) -> Image:
    """Find an image.

    Raises
    ------
    NotFound
    """
    with database.read() as session:
        found = session.get(Image, image_id)
    if found is None:
        raise NotFound(f"there is no image {image_id}")
    return found


def verdict_row(verdict: Verdict, model: str | None, version: int | None) -> VerdictGiven:
    """Put a verdict together."""
    named = ("id", "verdict", "note", "reader", "at", "anomaly_score", "p_value")
    values = {name: getattr(verdict, name) for name in named}
    return VerdictGiven.model_validate({**values, "model": model, "version": version})


def finite(value: float) -> float | None:
    """Return a number that JSON can hold, or None."""
    return value if math.isfinite(value) else None
