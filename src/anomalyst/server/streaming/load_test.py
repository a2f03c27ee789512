"""A watch under load: from the last sample to the result, and how many windows a second.

One window at a time, written when the one before was answered, gives the latency of an idle line;
all at once gives what is sustained. The model works in its own process, as it does in use.
"""

import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.inspection.signals import learn_signals
from anomalyst.inspector import Inspector
from anomalyst.senses.sense import SignalSense
from anomalyst.server.config import ServingConfig
from anomalyst.server.load_test import DEMO
from anomalyst.server.storage.filters import Filter
from anomalyst.server.storage.tables import InspectionRow
from anomalyst.server.streaming.load_feeds import HEAD, ROWS, MqttFeed, broker, drawn, feed_of
from anomalyst.server.streaming.opening import open_for
from anomalyst.server.streaming.sinks import Webhook
from anomalyst.server.streaming.watch import Tally, Watch

PUMP, FLANGE = "pump", "flange"
GOOD = 24  # recordings taught
MOST_SECONDS = 600.0  # for all windows of a part of the measurement
PAUSE_SECONDS = 0.1  # at most, before the next window, so that no poll is hit always alike
Told = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchLoad:
    """What the watch of one source came to."""

    source: str  # pictures, CSV or MQTT
    method: str  # what judges
    stored: Sequence[float]  # seconds from the last sample to the result in the store
    told: Sequence[float]  # and to the webhook
    per_second: float  # windows, all at once
    expected: int
    kept: int  # in the store
    different: int  # of these, by name

    @property
    def lost(self) -> int:
        """Windows that are not in the store."""
        return self.expected - self.different

    @property
    def doubled(self) -> int:
        """Windows that are there twice."""
        return self.kept - self.different

    def milliseconds(self, latencies: Sequence[float]) -> list[str]:
        """p50, p95 and p99."""
        cuts = statistics.quantiles(latencies, n=100, method="inclusive")
        return [f"{1000 * cuts[share - 1]:.0f}" for share in (50, 95, 99)]


@dataclass(slots=True)
class Arrivals:
    """When results came, counted."""

    times: list[float] = field(default_factory=list)
    came: threading.Condition = field(default_factory=threading.Condition)

    def one(self, *_: Any) -> None:
        """Another one is there."""
        with self.came:
            self.times.append(time.perf_counter())
            self.came.notify_all()

    def until(self, count: int) -> float:
        """When the `count`th came. Raises AnomalystError if it does not come."""
        with self.came:
            if not self.came.wait_for(lambda: len(self.times) >= count, MOST_SECONDS):
                raise AnomalystError(
                    f"only {len(self.times)} of {count} results came in {MOST_SECONDS:.0f} s."
                )
            return self.times[count - 1]


def teach_pump(folder: Path, method: str) -> None:
    """The product PUMP from drawn recordings, judged by a method."""
    rng, good = np.random.default_rng(1), []
    with tempfile.TemporaryDirectory(prefix="anomalyst-") as drawings:
        for number in range(GOOD):
            path = Path(drawings) / f"{number:02d}.csv"
            first = int(rng.integers(1000))
            path.write_text("\n".join([HEAD, *drawn(rng, first, ROWS), ""]))
            good.append(path)
        learn_signals(PUMP, good, SignalSense(kind="series", method=method)).save(folder / PUMP)


def teach_flange(folder: Path, pictures: int | None = None) -> None:
    """The product FLANGE from the bundled pictures, or so many of them."""
    good = sorted((DEMO / "good").glob("*.jpg"))[:pictures]
    Inspector.load().teach(FLANGE, good, adapted=False).save(folder / FLANGE)


def measure(source: str, method: str, windows: int, told: Told = lambda _: None) -> WatchLoad:
    """A watch of `windows` one after the other, and as many at once."""
    with tempfile.TemporaryDirectory(prefix="anomalyst-watch-") as name:
        home = Path(name)
        config = ServingConfig(home=home / "home", products=home / "products")
        if source == "pictures":
            told("pictures: teaching")
            teach_flange(config.products)
            return _measured(source, method, config, str(home / "in"), windows, told)
        told(f"{source}, {method}: teaching")
        teach_pump(config.products, method)
        if source == "CSV":
            return _measured(source, method, config, str(home / "sensors.csv"), windows, told)
        with broker(home) as port:
            address = f"mqtt://127.0.0.1:{port}/line/pump"
            return _measured(source, method, config, address, windows, told)


def _measured(
    source: str, method: str, config: ServingConfig, place: str, windows: int, told: Told
) -> WatchLoad:
    product = FLANGE if source == "pictures" else PUMP
    stored, hooked, rng = Arrivals(), Arrivals(), np.random.default_rng(2)
    feed = feed_of(source, place)

    def done(_: InspectionRow, __: Tally) -> None:
        stored.one()

    with _webhook(hooked) as address:
        watch = Watch(
            config,
            product,
            open_for(place, product, config),
            place,
            [Webhook(address, internal=True)],
            done,
        )
        running = threading.Thread(target=watch.run, name="watch")
        running.start()
        time.sleep(1)  # a topic is subscribed
        feed.send(1)  # the model is read
        hooked.until(1)
        first: list[float] = []
        for number in range(windows):
            told(f"{source}, {method}: {number + 1} of {windows}")
            time.sleep(float(rng.uniform(0, PAUSE_SECONDS)))
            first.append(feed.send(1))
            hooked.until(number + 2)
        told(f"{source}, {method}: {windows} at once")
        began = time.perf_counter()
        feed.send(windows)
        seconds = stored.until(1 + 2 * windows) - began
        hooked.until(1 + 2 * windows)
        watch.ended.set()
        running.join()
        rows = [
            row for row in watch.service.store.every_inspection(Filter()) if row.state == "done"
        ]
        watch.close()
    if isinstance(feed, MqttFeed):
        feed.close()
    return WatchLoad(
        source=source,
        method=method,
        stored=[b - a for a, b in zip(first, stored.times[1:], strict=False)],
        told=[b - a for a, b in zip(first, hooked.times[1:], strict=False)],
        per_second=windows / seconds,
        expected=1 + 2 * windows,
        kept=len(rows),
        different=len({row.name for row in rows}),
    )


@contextmanager
def _webhook(arrivals: Arrivals) -> Iterator[str]:
    """An address on this machine that takes everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204)
            self.end_headers()
            arrivals.one()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
