"""Numbers that are computed whenever the metrics are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import func, select

from msde.serve.metrics import gauge
from msde.serve.models import Models
from msde.serve.numbers import Numbers, numbers
from msde.serve.storage import queue
from msde.serve.storage.database import Database
from msde.serve.storage.tables import Outgoing
from msde.serve.worklist import drift_of

WEEKS = 4


def gauges(database: Database, models: Models) -> Iterator[Metric]:
    """Read the lengths of queue and outbox, and of each model the version, the drift and the latest weeks' numbers."""
    with database.read() as session:
        waiting = queue.depth(session)
        states = select(Outgoing.state, func.count()).group_by(Outgoing.state)
        outgoing = {state: float(n) for state, n in session.execute(states)}
    yield GaugeMetricFamily("msde_queue_images", "Images that wait or are being scored.", waiting)
    yield gauge("msde_outbox_results", "Results to send elsewhere, by state.", "state", outgoing)
    versions = {current.name: float(current.number) for current in models}
    yield gauge("msde_model_version", "Number of the current version of a model.", "model", versions)
    drift = {current.name: drift_of(database, models, current).distance for current in models}
    yield gauge("msde_drift_distance", "Kolmogorov-Smirnov distance of the latest scores.", "model", drift)
    yield from _of_numbers({current.name: numbers(database, models, current, WEEKS) for current in models})


def _of_numbers(found: Mapping[str, Numbers]) -> Iterator[Metric]:
    """Give the numbers of the latest weeks, as the page has them."""
    counts = {
        "msde_recent_images": ("Images with a p-value that came in the latest four weeks.", "images"),
        "msde_recent_flagged_images": ("Those of them that are flagged.", "flagged"),
        "msde_recent_confirmed_normals": ("Those of them that readers call normal.", "confirmed_normals"),
        "msde_recent_false_alarms": ("Those of these that are flagged.", "false_alarms"),
        "msde_recent_confirmed_abnormals": ("Those of them that readers call abnormal.", "confirmed_abnormals"),
        "msde_recent_found_abnormals": ("Those of these that are flagged.", "found"),
    }
    for name, (help_, field) in counts.items():
        yield gauge(name, help_, "model", {model: float(getattr(one.total, field)) for model, one in found.items()})
    expected = {model: one.alpha for model, one in found.items()}
    yield gauge("msde_expected_false_alarm_ratio", "False-alarm rate asked for.", "model", expected)
    times = GaugeMetricFamily(
        "msde_recent_turnaround_seconds", "From arrival to score or first verdict.", labels=["model", "to", "quantile"]
    )
    scanners = GaugeMetricFamily(
        "msde_recent_scanner_drift_distance", "Distance of a scanner's scores.", labels=["model", "scanner"]
    )
    explained = GaugeMetricFamily(
        "msde_recent_scanner_drift_explained", "Distance that chance explains.", labels=["model", "scanner"]
    )
    kappa = GaugeMetricFamily("msde_readers_kappa", "Cohen's kappa, mean over pairs of readers.", labels=["model"])
    for model, one in found.items():
        for to, spread in (("score", one.total.to_score), ("verdict", one.total.to_verdict)):
            if spread is not None:
                times.add_metric([model, to, "0.5"], spread.median)
                times.add_metric([model, to, "0.9"], spread.p90)
        for scanner in one.scanners:
            if scanner.week is None:
                scanners.add_metric([model, scanner.scanner], scanner.distance)
                explained.add_metric([model, scanner.scanner], scanner.explained)
        known = [(pair.kappa, pair.images) for pair in one.pairs if pair.kappa is not None]
        if known:
            kappa.add_metric([model], sum(k * n for k, n in known) / sum(n for _, n in known))
    yield from (times, scanners, explained, kappa)
