"""A watch under load: from the last sample to the result, and how many windows a second.

One window at a time, written when the one before was answered, gives the latency of an idle line;
all at once gives what is sustained. The model works in its own process, as it does in use.
"""

import json
import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from paho.mqtt.client import Client, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion

from anomalyst.errors import AnomalystError
from anomalyst.inspection.signals import learn_signals
from anomalyst.inspector import Inspector
from anomalyst.product import Product
from anomalyst.senses.sense import SignalSense
from anomalyst.server.config import ServingConfig
from anomalyst.server.load_test import DEMO, free_port
from anomalyst.server.storage.filters import Filter
from anomalyst.server.storage.tables import InspectionRow
from anomalyst.server.streaming.opening import open_for
from anomalyst.server.streaming.sinks import Webhook
from anomalyst.server.streaming.watch import Tally, Watch

PUMP, FLANGE = "pump", "flange"
CHANNELS = ("torque", "temperature")
RATE_HZ, ROWS = 10, 160  # of a window
GOOD = 24  # recordings taught
HEAD = ",".join(("time", *CHANNELS))
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


class Feed(ABC):
    """Writes windows, as a logger, a gateway or a camera does."""

    def __init__(self) -> None:
        self.sent = 0  # windows
        self._rng = np.random.default_rng(0)

    @abstractmethod
    def send(self, count: int) -> float:
        """So many windows; returns when the last sample was about to be written."""

    def rows(self, count: int) -> list[str]:
        """The samples of the next windows, as lines of a CSV."""
        first = self.sent * ROWS
        self.sent += count
        return drawn(self._rng, first, count * ROWS)


class CsvFeed(Feed):
    """Appends to a table."""

    def __init__(self, path: Path):
        super().__init__()
        self._file = path.open("a")
        self._file.write(f"{HEAD}\n")
        self._file.flush()

    def send(self, count: int) -> float:
        """Rows of so many windows; the last row by itself."""
        *rows, last = self.rows(count)
        self._file.write("\n".join([*rows, ""]))
        self._file.flush()
        now = time.perf_counter()
        self._file.write(f"{last}\n")
        self._file.flush()
        return now


class MqttFeed(Feed):
    """Publishes one sample a message."""

    def __init__(self, port: int, topic: str):
        super().__init__()
        self.topic = topic
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.max_inflight_messages_set(1000)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def send(self, count: int) -> float:
        """Messages of so many windows; the last one by itself, when the broker has the others."""
        *rows, last = self.rows(count)
        for line in rows:
            sent = self._publish(line)
        sent.wait_for_publish(MOST_SECONDS)
        time.sleep(1 / RATE_HZ)
        now = time.perf_counter()
        self._publish(last)
        return now

    def _publish(self, line: str) -> MQTTMessageInfo:
        row = dict(zip(HEAD.split(","), map(float, line.split(",")), strict=True))
        return self._client.publish(self.topic, json.dumps(row), qos=1)

    def close(self) -> None:
        """Leave the broker."""
        self._client.disconnect()
        self._client.loop_stop()


class PictureFeed(Feed):
    """Puts pictures into a folder, each whole at once."""

    def __init__(self, folder: Path):
        super().__init__()
        self.folder = folder
        folder.mkdir()
        self._pictures = sorted((DEMO / "test").glob("*.jpg"))

    def send(self, count: int) -> float:
        """So many pictures."""
        now = 0.0
        for _ in range(count):
            source = self._pictures[self.sent % len(self._pictures)]
            part = self.folder.parent / ".part.jpg"
            shutil.copyfile(source, part)
            now = time.perf_counter()
            part.rename(self.folder / f"{self.sent:05d}.jpg")
            self.sent += 1
        return now


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


def drawn(rng: np.random.Generator, first: int, count: int) -> list[str]:
    """A good pump's samples, as lines of a CSV."""
    t = np.arange(first, first + count) / RATE_HZ
    torque = np.sin(np.pi * t / 2) + 0.1 * rng.normal(size=count)
    temperature = 20 + 0.1 * rng.normal(size=count)
    return [f"{a:.1f},{b:.4f},{c:.3f}" for a, b, c in zip(t, torque, temperature, strict=True)]


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


def measure(source: str, method: str, windows: int, told: Told = lambda _: None) -> WatchLoad:
    """A watch of `windows` one after the other, and as many at once."""
    with tempfile.TemporaryDirectory(prefix="anomalyst-watch-") as name:
        home = Path(name)
        config = ServingConfig(home=home / "home", products=home / "products")
        if source == "pictures":
            told("pictures: teaching")
            Product.save(_flange(), config.products / FLANGE)
            return _measured(source, method, config, str(home / "in"), windows, told)
        told(f"{source}, {method}: teaching")
        teach_pump(config.products, method)
        if source == "CSV":
            return _measured(source, method, config, str(home / "sensors.csv"), windows, told)
        with broker(home) as port:
            address = f"mqtt://127.0.0.1:{port}/line/pump"
            return _measured(source, method, config, address, windows, told)


def _flange() -> Product:
    return Inspector.load().teach(FLANGE, sorted((DEMO / "good").glob("*.jpg")), adapted=False)


def _feed(source: str, place: str) -> Feed:
    if source == "MQTT":
        port, _, topic = place.rpartition(":")[2].partition("/")
        return MqttFeed(int(port), topic)
    return CsvFeed(Path(place)) if source == "CSV" else PictureFeed(Path(place))


def _measured(
    source: str, method: str, config: ServingConfig, place: str, windows: int, told: Told
) -> WatchLoad:
    product = FLANGE if source == "pictures" else PUMP
    stored, hooked, rng = Arrivals(), Arrivals(), np.random.default_rng(2)
    feed = _feed(source, place)

    def done(_: InspectionRow, __: Tally) -> None:
        stored.one()

    with _webhook(hooked) as address:
        watch = Watch(
            config, product, open_for(place, product, config), place, [Webhook(address)], done
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
        rows = [row for row in _all(watch) if row.state == "done"]
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


def _all(watch: Watch) -> Iterator[InspectionRow]:
    before: str | None = None
    while rows := watch.service.store.history(Filter(), before=before, limit=500):
        yield from rows
        before = rows[-1].id


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


def mosquitto() -> str | None:
    """The program of a broker, if it is installed."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


@contextmanager
def broker(folder: Path) -> Iterator[int]:
    """Mosquitto on a free port of this machine. Raises AnomalystError without it."""
    program, port = mosquitto(), free_port()
    if program is None:
        raise AnomalystError("MQTT needs a broker; install Debian's mosquitto.")
    settings = folder / "mosquitto.conf"
    settings.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n"
        + ("user root\n" if os.geteuid() == 0 else "")
    )
    process = subprocess.Popen([program, "-c", str(settings)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()
