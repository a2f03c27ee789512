"""An MQTT topic that sensors write to: its samples in windows, over outages and restarts."""

import hashlib
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from paho.mqtt.client import Client, MQTTMessage

from anomalyst.errors import AnomalystError
from anomalyst.senses.sense import SignalSense
from anomalyst.server.streaming.broker import Broker
from anomalyst.server.streaming.journal import Journal, Kept, Row
from anomalyst.server.streaming.messages import NotUnderstood, rows_of, table_of, time_of
from anomalyst.server.streaming.sources import Source, Taken
from anomalyst.server.streaming.windows import Cut, Cutter, taken

log = logging.getLogger(__name__)
WAIT_SECONDS = 0.3
AT_ONCE = 500  # messages written down together at most
RETRY_SECONDS = (1, 30)  # between tries to reach the broker: doubled from the first to the second
KEEPALIVE_SECONDS = 20


class Topic(Source):
    """Windows of what comes on a topic, by quality of service 1.

    A message is acknowledged when it lies in the journal in `folder`; the broker keeps for us what
    comes while we are away (a persistent session).
    """

    dropped_are = "messages"

    def __init__(self, address: str, sense: SignalSense, cut: Cut, folder: Path, owner: str):
        broker = Broker.of(
            address, "a topic is mqtt://HOST[:PORT]/TOPIC or mqtt://USER:PASSWORD@HOST/TOPIC"
        )
        self.topic, self.label = broker.path, broker.label(broker.path)
        if not self.topic or set(self.topic) & set("+#"):
            raise AnomalystError(
                f"{self.label}: names {'several topics' if self.topic else 'no topic'}; give one, "
                "as mqtt://HOST/line3/pump, and start a watch for each."
            )
        self.how, self._channels, self._kinds = cut.told, sense.channels, set[str]()
        session = hashlib.sha256(f"{self.label} {owner}".encode()).hexdigest()[:12]
        self._journal = Journal(folder / f"{session}.jsonl")
        self._cutter: Cutter[Row] = Cutter(cut, self._journal.begin)
        self._broken: AnomalystError | None = None  # why nothing more can be kept
        self._came_in: SimpleQueue[Kept | None] = SimpleQueue()
        self._keeper = threading.Thread(
            target=self._keep, name=f"journal {self.label}", daemon=True
        )
        self._away = threading.Event()
        self._known_there = not self._journal.began  # the broker should have kept our session
        self._client = broker.client(
            client_id=f"anomalyst-{session}", clean_session=False, manual_ack=True
        )
        self._client.on_connect = self._connected
        self._client.on_connect_fail = lambda *_: self._gone("cannot be reached")
        self._client.on_disconnect = lambda *given: self._gone(f"is gone ({given[3]})")
        self._client.on_subscribe = self._subscribed
        self._client.on_message = self._came
        self._client.reconnect_delay_set(*RETRY_SECONDS)
        self._client.connect_async(broker.host, broker.port, keepalive=KEEPALIVE_SECONDS)
        self._keeper.start()
        self._client.loop_start()

    def new(self) -> Iterator[Taken]:
        """Windows that were completed; waits a little for one. Raises AnomalystError."""
        if self._broken is not None:
            raise self._broken
        if not self._journal.fresh.wait(WAIT_SECONDS):
            return
        self._journal.fresh.clear()
        for _, row in self._journal.read():
            window = self._cutter.add(row)
            self.waiting = self._cutter.waiting
            if window is not None:
                yield self._taken(*window)
                self._journal.forget(self._cutter.first)

    def close(self) -> None:
        """Leave the broker, which keeps the session, and let go of the journal."""
        self._client.on_disconnect = None
        self._client.disconnect()
        self._client.loop_stop()
        self._came_in.put(None)
        self._keeper.join()
        self._journal.close()

    def _taken(self, number: int, rows: list[Row]) -> Taken:
        table, stem = table_of(rows), self.topic.rpartition("/")[2]
        told = time_of(rows[0])
        if told is not None:
            return taken(stem, told, self.label, table)
        return taken(stem, f"sample {number + 1}", f"{self.label}|{number}", table)

    def _came(self, client: Client, _: Any, message: MQTTMessage) -> None:
        """Hand a message on to be kept; what holds no samples is done with at once."""
        payload = bytes(message.payload)
        try:
            rows = rows_of(payload, self._channels)
        except NotUnderstood as error:
            self._count(str(error))
            rows = []
        if rows and not message.retain:  # what the topic held before we came is no new sample
            self._came_in.put(Kept(message.mid, payload, rows, message.dup))
        else:
            client.ack(message.mid, message.qos)

    def _keep(self) -> None:
        """Write down what has come, all at once, then acknowledge it; the rest comes again."""
        while (first := self._came_in.get()) is not None:
            messages = [first]
            while len(messages) < AT_ONCE and not self._came_in.empty():
                if (one := self._came_in.get()) is None:
                    return  # not acknowledged, so the broker keeps them
                messages.append(one)
            try:
                self._journal.append(messages)
            except AnomalystError as error:
                self._broken = error
                return
            for one in messages:
                self._client.ack(one.mid, 1)

    def _count(self, kind: str) -> None:
        self.dropped += 1
        if kind not in self._kinds:
            self._kinds.add(kind)
            log.warning(
                "%s: a message was passed over, for it holds %s; a JSON object of channels, a list "
                "of such, or lines of a CSV are needed. Further ones are only counted",
                self.label, kind,
            )  # fmt: skip

    def _connected(self, client: Client, _: Any, flags: Any, reason: Any, __: Any) -> None:
        if reason.is_failure:
            self._gone(f"refuses us ({reason})")
            return
        if self._away.is_set():
            log.warning("%s: the broker is there again", self.label)
            self._away.clear()
        if flags.session_present:
            return
        if self._known_there:
            log.warning(
                "%s: the broker kept no session for us; what was sent while we were away is lost",
                self.label,
            )
        self._known_there = True
        client.subscribe(self.topic, qos=1)

    def _subscribed(self, _: Any, __: Any, ___: int, codes: list[Any], ____: Any) -> None:
        if any(code.is_failure for code in codes):
            self._broken = AnomalystError(
                f"{self.label}: the broker does not let us read this topic ({codes[0]}); check "
                "user and rights."
            )
        self._journal.fresh.set()

    def _gone(self, how: str) -> None:
        if not self._away.is_set():
            log.warning("%s: the broker %s; it is tried again until it is there", self.label, how)
        self._away.set()
