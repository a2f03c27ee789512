"""A watch whose broker or database goes away while parts come: what is told, in which order."""

import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from anomalyst.server.breakable import Breakable, postgres
from anomalyst.server.config import ServingConfig
from anomalyst.server.load_test import free_port
from anomalyst.server.outage_test import MOST_SECONDS, TAUGHT, Outage, out_of_order, taken_away
from anomalyst.server.streaming.load_feeds import Mosquitto, PictureFeed
from anomalyst.server.streaming.load_test import FLANGE, teach_flange
from anomalyst.server.streaming.opening import open_for
from anomalyst.server.streaming.sinks import Mqtt
from anomalyst.server.streaming.watch import Watch

Of = Literal["broker", "database"]
Say = Callable[[str], None]
TOPIC = "line"


@dataclass(slots=True)
class Listener:
    """Whoever needs the results: a program that the broker keeps messages for."""

    port: int
    came: list[tuple[float, str, dict[str, Any]]] = field(default_factory=list)
    _client: Client = field(init=False)

    def __post_init__(self) -> None:
        client = Client(CallbackAPIVersion.VERSION2, client_id="mes", clean_session=False)
        client.on_message = lambda *given: self.came.append(
            (time.monotonic(), given[2].topic, json.loads(given[2].payload))
        )
        client.on_connect = lambda own, *_: own.subscribe(f"{TOPIC}/#", qos=1)
        client.reconnect_delay_set(1, 1)
        client.connect("127.0.0.1", self.port)
        client.loop_start()
        self._client = client

    @property
    def pictures(self) -> list[tuple[float, str]]:
        """When the result of which picture came."""
        return [(at, one["picture"]) for at, topic, one in self.came if "/inspections" in topic]

    def close(self) -> None:
        """Leave the broker."""
        self._client.disconnect()
        self._client.loop_stop()


def measure(
    of: Of, seconds: float, *, per_second: float = 1.0, say: Say = lambda _: None
) -> Outage:
    """A watch of a folder that tells a broker; one of the two it needs is away for so long."""
    outage = Outage(of="PostgreSQL" if of == "database" else "broker", seconds=seconds)
    with tempfile.TemporaryDirectory(prefix="anomalyst-outage-") as name:
        home = Path(name)
        say("teaching")
        teach_flange(home / "products", TAUGHT)
        with Mosquitto(home, free_port()).running() as broker, _database(of) as (url, database):
            config = ServingConfig(home=home / "home", products=home / "products", database=url)
            thing: Breakable = broker if database is None else database
            _measured(config, home / "in", broker, thing, per_second, outage, say)
    return outage


def _measured(
    config: ServingConfig, place: Path, broker: Mosquitto, thing: Breakable, per_second: float,
    outage: Outage, say: Say,
) -> None:  # fmt: skip
    feed, listener = PictureFeed(place), Listener(broker.port)
    sink = Mqtt(f"mqtt://127.0.0.1:{broker.port}/{TOPIC}")
    watch = Watch(config, FLANGE, open_for(str(place), FLANGE, config), str(place), [sink])
    running = threading.Thread(target=watch.run, name="watch")
    running.start()
    feeding = threading.Event()
    came: dict[str, float] = {}

    def feed_on() -> None:
        due = time.monotonic()
        while not feeding.wait(max(0.0, due - time.monotonic())):
            due += 1 / per_second
            feed.send(1)
            came[f"{feed.sent - 1:05d}.jpg"] = time.monotonic()

    try:
        feed.send(1)
        _await(listener, 1)  # the model is read
        sender = threading.Thread(target=feed_on, name="camera")
        sender.start()
        returned = taken_away(thing, outage, say)
        feeding.set()
        sender.join()
        _await(listener, feed.sent)
    finally:
        feeding.set()
        watch.ended.set()
        running.join()
        watch.close()
        listener.close()
    _count(listener, feed.sent, came, returned, outage)


def _count(
    listener: Listener, sent: int, came: dict[str, float], returned: float, outage: Outage
) -> None:
    told = listener.pictures
    names = [f"1-{picture}" for _, picture in told]
    outage.sent, outage.kept = sent, len(set(names))
    outage.acknowledged = outage.kept  # a folder is not answered: what was told was taken
    outage.lost, outage.doubled = sent - len(set(names)), len(names) - len(set(names))
    outage.out_of_order = out_of_order(names)
    after = [at for at, _ in told if at > returned]
    waited = [at for at, picture in told if came.get(picture, 0.0) < returned]
    outage.first_seconds = (after[0] if after else float("nan")) - returned
    outage.all_seconds = max(waited, default=returned) - returned


def _await(listener: Listener, count: int) -> None:
    """Until so many different pictures were told of; those that never are count as lost."""
    end = time.monotonic() + MOST_SECONDS
    while len({picture for _, picture in listener.pictures}) < count and time.monotonic() < end:
        time.sleep(0.1)


@contextmanager
def _database(of: Of) -> Iterator[tuple[str | None, Breakable | None]]:
    if of == "broker":
        yield None, None
        return
    with postgres() as found:
        yield found.url, found
