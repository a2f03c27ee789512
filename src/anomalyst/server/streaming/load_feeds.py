"""What a watch under load is fed: rows into a table, messages to a broker, pictures to a folder."""

import json
import os
import shutil
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import numpy as np
from paho.mqtt.client import Client, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion

from anomalyst.errors import AnomalystError
from anomalyst.server.load_test import DEMO, free_port

RATE_HZ, ROWS = 10, 160  # of a window
HEAD = "time,torque,temperature"
SENT_SECONDS = 600.0  # at most, until a broker has all messages


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
        sent.wait_for_publish(SENT_SECONDS)
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


def drawn(rng: np.random.Generator, first: int, count: int) -> list[str]:
    """A good pump's samples, as lines of a CSV."""
    t = np.arange(first, first + count) / RATE_HZ
    torque = np.sin(np.pi * t / 2) + 0.1 * rng.normal(size=count)
    temperature = 20 + 0.1 * rng.normal(size=count)
    return [f"{a:.1f},{b:.4f},{c:.3f}" for a, b, c in zip(t, torque, temperature, strict=True)]


def feed_of(source: str, place: str) -> Feed:
    """What feeds a watch of pictures, CSV or MQTT at a place."""
    if source == "MQTT":
        port, _, topic = place.rpartition(":")[2].partition("/")
        return MqttFeed(int(port), topic)
    return CsvFeed(Path(place)) if source == "CSV" else PictureFeed(Path(place))


def mosquitto() -> str | None:
    """The program of a broker, if it is installed."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


class Mosquitto:
    """A broker on this machine that keeps what it holds over its own restarts.

    Raises AnomalystError where it is not installed.
    """

    def __init__(self, folder: Path, port: int):
        program = mosquitto()
        if program is None:
            raise AnomalystError("MQTT needs a broker; install Debian's mosquitto.")
        self.port, settings, kept = port, folder / "mosquitto.conf", folder / "mosquitto"
        kept.mkdir(exist_ok=True)
        settings.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n"
            f"persistence true\npersistence_location {kept}/\n"
            "autosave_on_changes true\nautosave_interval 1\n"
            + ("user root\n" if os.geteuid() == 0 else "")
        )
        self._command = [program, "-c", str(settings)]
        self._process: subprocess.Popen[bytes] | None = None

    def away(self) -> None:
        """SIGKILL, as when the power goes."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def back(self) -> None:
        """Start it; returns when it listens."""
        self._process = subprocess.Popen(self._command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AnomalystError(f"mosquitto does not listen at port {self.port}.")

    @contextmanager
    def running(self) -> Iterator[Self]:
        """From now to the end of the block, whatever happens in it."""
        self.back()
        try:
            yield self
        finally:
            self.away()


@contextmanager
def broker(folder: Path) -> Iterator[int]:
    """Mosquitto on a free port of this machine. Raises AnomalystError without it."""
    with Mosquitto(folder, free_port()).running() as found:
        yield found.port
