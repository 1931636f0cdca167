"""Numbers for the head of department: scores, flags, false alarms, turnaround and drift by week and scanner."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
from pydantic import BaseModel
from sqlalchemy import func, select

from msde.method.drift import measure_drift
from msde.method.metrics import wilson
from msde.model.verdicts import WITHDRAWN
from msde.serve import readings
from msde.serve.models import Current, Models
from msde.serve.reading import Pair
from msde.serve.storage.database import Database
from msde.serve.storage.tables import Image, Score, Verdict, now
from msde.serve.worklist import finite

NO_SCANNER = "no scanner stated"
OTHERS = "other scanners"
_MOST = 12  # scanners told apart
_SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
WEEK = timedelta(days=7)


class Spread(BaseModel):
    """Half of the values are below `median`, nine tenths below `p90`."""

    median: float
    p90: float


class Week(BaseModel):
    """What came in a week, by its Monday in UTC; null: in the whole time.

    `scores` are the 5th, 25th, 50th, 75th and 95th percentile of single images by the version in use; times are in
    seconds from the arrival; of an image the first verdict counts.
    """

    week: date | None
    images: int
    flagged: int
    flags_per_1000: float | None
    flags_interval: tuple[float, float] | None
    confirmed_normals: int
    false_alarms: int
    false_alarm_rate: float | None
    false_alarm_interval: tuple[float, float] | None
    confirmed_abnormals: int
    found: int
    scores: tuple[float, float, float, float, float] | None
    to_score: Spread | None
    to_verdict: Spread | None
    verdicts: int


class ScannerWeek(BaseModel):
    """How the scores of a scanner lie to those of the calibration, single images of the version in use alone."""

    scanner: str
    week: date | None
    images: int
    flagged: int
    distance: float
    explained: float
    higher: bool
    found: bool


class Numbers(BaseModel):
    """All of it, weeks in their order, of scanners those with most images first."""

    model: str
    version: int
    alpha: float
    threshold: float | None
    since: datetime
    until: datetime
    total: Week
    weeks: list[Week]
    scanners: list[ScannerWeek]
    pairs: list[Pair]


@dataclass(frozen=True)
class _Row:
    """An image that has a p-value."""

    arrived: datetime
    scored: datetime | None
    judged: datetime | None
    verdict: str | None
    scanner: str
    patient: str
    score: float
    flagged: bool
    learnt: bool
    comparable: bool

    @property
    def week(self) -> date:
        day = self.arrived.astimezone(UTC).date()
        return day - timedelta(days=day.weekday())


def numbers(database: Database, models: Models, current: Current, weeks: int) -> Numbers:
    """Compute the numbers of a model over the latest weeks, the one that runs among them.

    Parameters
    ----------
    database : Database
    models : Models
    current : Current
    weeks : int
    """
    until = now()
    monday = until.date() - timedelta(days=until.weekday())
    first = monday - (weeks - 1) * WEEK
    since = datetime(first.year, first.month, first.day, tzinfo=UTC)
    rows = _rows(database, current, since)
    with database.read() as session:
        pairs = readings.pairs(session, current)
    by_week = _by(rows, lambda row: row.week)
    calibration = models.calibration(current)
    return Numbers(
        model=current.name,
        version=current.number,
        alpha=current.alpha,
        threshold=finite(calibration.threshold),
        since=since,
        until=until,
        total=_week(None, rows),
        weeks=[_week(first + n * WEEK, by_week.get(first + n * WEEK, [])) for n in range(weeks)],
        scanners=list(_scanners(rows, calibration.scores, calibration.groups)),
        pairs=pairs,
    )


def _rows(database: Database, current: Current, since: datetime) -> list[_Row]:
    first_word = (
        select(Verdict.image_id, func.min(Verdict.at).label("at"))
        .where(Verdict.verdict != WITHDRAWN)
        .group_by(Verdict.image_id)
        .subquery()
    )
    chosen = (
        select(
            *(Image.id, Image.arrived, Image.verdict, Image.scanner, Image.patient),
            *(
                Score.scored,
                Score.anomaly_score,
                Score.p_value,
                Score.seen_in_training,
                Score.n_parts,
                Score.version_id,
            ),
            first_word.c.at,
        )
        .join(Score, Score.image_id == Image.id)
        .outerjoin(first_word, first_word.c.image_id == Image.id)
        .where(Score.model_id == current.model_id, Score.shown, Score.p_value.is_not(None), Image.arrived >= since)
        .order_by(Image.id)
    )
    with database.read() as session:
        found = session.execute(chosen).all()
    return [
        _Row(
            arrived=row.arrived,
            scored=row.scored,
            judged=row.at,
            verdict=row.verdict,
            scanner=row.scanner or NO_SCANNER,
            patient=row.patient or f"image {row.id}",
            score=row.anomaly_score,
            flagged=row.p_value <= current.highest_p,
            learnt=row.seen_in_training,
            comparable=row.version_id == current.version_id and row.n_parts == 1,
        )
        for row in found
    ]


def _week(week: date | None, rows: Sequence[_Row]) -> Week:
    n, flagged = len(rows), sum(row.flagged for row in rows)
    told = Counter((row.verdict, row.flagged) for row in rows if not row.learnt)
    normals, false_alarms = told["normal", True] + told["normal", False], told["normal", True]
    scores = [row.score for row in rows if row.comparable]
    per_1000 = tuple(1000 * end for end in wilson(flagged, n)) if n else None
    return Week(
        week=week,
        images=n,
        flagged=flagged,
        flags_per_1000=1000 * flagged / n if n else None,
        flags_interval=(per_1000[0], per_1000[1]) if per_1000 else None,
        confirmed_normals=normals,
        false_alarms=false_alarms,
        false_alarm_rate=false_alarms / normals if normals else None,
        false_alarm_interval=wilson(false_alarms, normals) if normals else None,
        confirmed_abnormals=told["abnormal", True] + told["abnormal", False],
        found=told["abnormal", True],
        scores=tuple(np.quantile(scores, _SHARES).tolist()) if scores else None,
        to_score=_spread(row.scored - row.arrived for row in rows if row.scored),
        to_verdict=_spread(row.judged - row.arrived for row in rows if row.judged),
        verdicts=sum(row.judged is not None for row in rows),
    )


def _spread(times: Iterable[timedelta]) -> Spread | None:
    seconds = [max(0.0, time.total_seconds()) for time in times]  # a clock may have been put back
    return Spread(median=float(np.quantile(seconds, 0.5)), p90=float(np.quantile(seconds, 0.9))) if seconds else None


def _scanners(rows: Sequence[_Row], normals: Any, groups: Any) -> Iterator[ScannerWeek]:
    comparable = [row for row in rows if row.comparable]
    most = [name for name, _ in Counter(row.scanner for row in comparable).most_common(_MOST)]
    by_scanner = _by(comparable, lambda row: row.scanner if row.scanner in most else OTHERS)
    for scanner in sorted(by_scanner, key=lambda name: (name == OTHERS, -len(by_scanner[name]), name)):
        parts: dict[date | None, list[_Row]] = {None: by_scanner[scanner]}
        parts |= dict(sorted(_by(by_scanner[scanner], lambda row: row.week).items()))
        for week, some in parts.items():
            drift = measure_drift(
                normals,
                [row.score for row in some],
                calibration_groups=groups,
                incoming_groups=[row.patient for row in some],
            )
            yield ScannerWeek(
                scanner=scanner,
                week=week,
                images=len(some),
                flagged=sum(row.flagged for row in some),
                distance=drift.distance,
                explained=drift.explained,
                higher=drift.higher,
                found=drift.found,
            )


def _by(rows: Iterable[_Row], key: Callable[[_Row], Any]) -> dict[Any, list[_Row]]:
    found: dict[Any, list[_Row]] = defaultdict(list)
    for row in rows:
        found[key(row)].append(row)
    return found
