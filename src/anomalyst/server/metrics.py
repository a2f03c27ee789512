"""Figures for Prometheus, of one server."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 30, 60)
BATCHES = (1, 2, 4, 8, 16)


class Metrics:
    """Counters and histograms; a registry of their own, so that two servers do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry, "namespace": "anomalyst"}
        timed = own | {"buckets": SECONDS}
        labels = ["product", "verdict", "source"]
        self.inspections = Counter("inspections", "Inspections done", labels, **own)
        self.failures = Counter("failures", "Inspections that could not be done", **own)
        self.seconds = Histogram("inspection_seconds", "From taken in to done", **timed)
        self.batches = Histogram("batch_size", "Tasks per batch", buckets=BATCHES, **own)
        self.model_seconds = Histogram("model_seconds", "Time of the model for a batch", **timed)
        self.requests = Counter("http_requests", "Requests", ["method", "route", "status"], **own)
        self.waiting = Gauge("waiting", "Tasks that wait or are being done", **own)
        self.jobs = Gauge("jobs", "Jobs that wait or are being done, as teaching", **own)
        self.drift = Gauge("drift_strength", "Evidence that scores changed", ["product"], **own)
        self.undelivered = Gauge("undelivered", "Messages not taken yet", **own)
        self.late = Gauge(
            "late_parts", "Parts without a signal in time", ["product", "line"], **own
        )
        self.signal = Gauge(
            "signal_milliseconds", "From picture to signal, of parts of the last hour",
            ["product", "line", "quantile"], **own,
        )  # fmt: skip
        self.refused = Gauge("refused_messages", "Messages set aside, refused for good", **own)

    def batch(self, size: int, seconds: float) -> None:
        """A batch is done."""
        self.batches.observe(size)
        self.model_seconds.observe(seconds)

    def text(self) -> bytes:
        """As Prometheus reads it."""
        return generate_latest(self.registry)
