"""What the service counts, in the format of Prometheus; no label identifies a person or an image."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from msde import __version__

SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable of the folder where several worker processes add up their numbers."""
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """Counters and durations of this process, and gauges that are computed whenever the metrics are read.

    Attributes
    ----------
    registry : prometheus_client.CollectorRegistry
        Further metrics go here.
    """

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        to: dict[str, Any] = {"registry": self.registry}
        self._gauges: list[Callable[[], Iterator[Metric]]] = []
        if SHARED not in os.environ:
            ProcessCollector(registry=self.registry)
        build = Gauge("msde_build_info", "Version of the service.", ["version"], multiprocess_mode="max", **to)
        build.labels(__version__).set(1)
        self._received = Counter("msde_images_received", "Images that arrived, new ones.", ["origin"], **to)
        self._refused = Counter("msde_uploads_refused", "Uploads that were refused, by HTTP status.", ["status"], **to)
        scored = "Images scored, failed or of another kind."
        self._scored = Counter("msde_images_scored", scored, ["modality", "outcome"], **to)
        self._duration = Histogram(
            "msde_score_duration_seconds", "Time that an image took from being claimed.", buckets=_SECONDS, **to
        )
        self._requests = Histogram(
            "msde_http_request_duration_seconds",
            "Time to answer a request.",
            ["method", "route", "status"],
            buckets=_SECONDS,
            **to,
        )
        self._verdicts = Counter("msde_verdicts", "Verdicts given by readers.", ["verdict"], **to)
        streams = "Pages that listen for changes."
        self._streams = Gauge("msde_event_streams", streams, multiprocess_mode="livesum", **to)
        self._reloads = Counter("msde_model_reloads", "New model files seen.", ["outcome"], **to)

    def received(self, origin: str) -> None:
        """Count a new image; of the origin its kind alone."""
        self._received.labels(origin.partition(":")[0]).inc()

    def refused(self, status: int) -> None:
        """Count an upload that was refused."""
        self._refused.labels(str(status)).inc()

    def scored(self, modality: str, state: str, seconds: float) -> None:
        """Count an image by the state of its score, and how long it took."""
        self._scored.labels(modality, state).inc()
        self._duration.observe(seconds)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request by the route's pattern."""
        self._requests.labels(method, route, str(status)).observe(seconds)

    def verdict(self, verdict: str) -> None:
        """Count a verdict."""
        self._verdicts.labels(verdict).inc()

    def listening(self, pages: int) -> None:
        """Note how many pages listen for changes to this process."""
        self._streams.set(pages)

    def reloaded(self, good: bool) -> None:
        """Count a new model file."""
        self._reloads.labels("loaded" if good else "refused").inc()

    def ask(self, gauges: Callable[[], Iterator[Metric]]) -> None:
        """Add gauges that are computed whenever the metrics are read."""
        self._gauges.append(gauges)

    def text(self) -> bytes:
        """Return all numbers in the text format of Prometheus."""
        registry = self.registry
        if SHARED in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        computed = CollectorRegistry()
        for gauges in self._gauges:
            computed.register(_Computed(gauges))
        return generate_latest(registry) + generate_latest(computed)


class _Computed(Collector):
    def __init__(self, gauges: Callable[[], Iterator[Metric]]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        """Compute the gauges."""
        yield from self._gauges()

    def describe(self) -> Iterator[Metric]:
        """Return nothing, so that registering computes nothing."""
        return iter(())


def gauge(name: str, help_: str, label: str, values: dict[str, float]) -> Metric:
    """Return a gauge with one label."""
    family = GaugeMetricFamily(name, help_, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family
