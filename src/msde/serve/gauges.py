"""Numbers that are computed whenever the metrics are read."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import func, select

from msde.serve.metrics import gauge
from msde.serve.models import Models
from msde.serve.storage import queue
from msde.serve.storage.database import Database
from msde.serve.storage.tables import Outgoing
from msde.serve.worklist import drift_of


def gauges(database: Database, models: Models) -> Iterator[Metric]:
    """Read the lengths of queue and outbox, and of each model the version and the drift."""
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
