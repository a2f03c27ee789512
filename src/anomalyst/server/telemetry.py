"""Traces by OpenTelemetry, where they are asked for: requests, inspections, jobs.

Nothing of OpenTelemetry is imported while they are not.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from importlib.util import find_spec
from typing import Any, Protocol
from urllib.parse import urlsplit

from anomalyst.errors import AnomalystError
from anomalyst.version import __version__

NEEDED = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
PLACE = "/v1/traces"  # of a collector that takes OTLP by HTTP


class Tracing(Protocol):
    """Tells what took how long, and what belonged to it."""

    def request(self, method: str, path: str, headers: Mapping[str, str]) -> Any:
        """A context: one request, of a trace that its sender began where it says so."""

    def context(self) -> Any:
        """What is being done here, for what is done for it later."""

    def ended(self, name: str, since: datetime, context: Any, **about: Any) -> None:
        """Something that began at `since`, perhaps within a context, and is over."""

    def close(self) -> None:
        """Send what was not sent yet."""


class Untraced:
    """Tells nobody."""

    @contextmanager
    def request(self, method: str, path: str, headers: Mapping[str, str]) -> Iterator[dict]:  # noqa: ARG002
        """Nothing."""
        yield {}

    def context(self) -> None:
        """Nothing."""

    def ended(self, name: str, since: datetime, context: Any, **about: Any) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Traced:
    """Tells a collector by OTLP over HTTP, in the background."""

    def __init__(self, exporter: Any):
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        about = Resource.create({"service.name": "anomalyst", "service.version": __version__})
        self._provider = TracerProvider(resource=about)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("anomalyst", __version__)

    @contextmanager
    def request(self, method: str, path: str, headers: Mapping[str, str]) -> Iterator[dict]:
        """One request; what is put into the dict is told of it, `name` becomes its name."""
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind

        about: dict[str, Any] = {}
        within = extract(headers)  # W3C's traceparent
        asked = {"http.request.method": method, "url.path": path}
        with self._tracer.start_as_current_span(
            f"{method} {path}", within, kind=SpanKind.SERVER, attributes=asked
        ) as span:
            yield about
            span.update_name(about.pop("name", f"{method} {path}"))
            span.set_attributes(about)

    def context(self) -> Any:
        """The span that is open here."""
        from opentelemetry.context import get_current

        return get_current()

    def ended(self, name: str, since: datetime, context: Any, **about: Any) -> None:
        """A span of its own, within the one that was open where it was asked for."""
        told = {f"anomalyst.{key}": value for key, value in about.items() if value is not None}
        started = round(since.timestamp() * 1e9)
        span = self._tracer.start_span(name, context, attributes=told, start_time=started)
        span.end(time.time_ns())

    def close(self) -> None:
        """Send what was not sent yet, for a moment."""
        self._provider.force_flush(2000)
        self._provider.shutdown()


def tracing(address: str | None) -> Tracing:
    """What `--otlp` asks for; None: nothing. Raises AnomalystError for no address, or no extra."""
    if address is None:
        return Untraced()
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise AnomalystError(
            f"--otlp {address}: the address of a collector that takes OTLP by HTTP is needed, as "
            "http://localhost:4318."
        )
    if not all(_is_there(name) for name in NEEDED):
        raise AnomalystError(
            "--otlp needs OpenTelemetry; install it with `pip install 'anomalyst[telemetry]'`."
        )
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    whole = address if parts.path.strip("/") else address.rstrip("/") + PLACE
    return Traced(OTLPSpanExporter(endpoint=whole))


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # a package above it is missing
        return False
