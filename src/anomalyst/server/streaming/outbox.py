"""At-least-once delivery: messages wait in the store until their sink has taken them."""

import logging
import threading
from datetime import timedelta

from sqlalchemy import select

from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import DeliveryRow, now
from anomalyst.server.streaming.sinks import Sink

log = logging.getLogger(__name__)
FIRST_SECONDS, LONGEST_SECONDS = 1.0, 60.0  # between tries: doubled each time
AT_ONCE = 50
IDLE_SECONDS = 0.2


class Outbox:
    """Sends what waits for one sink, in the order it came, in a thread of its own."""

    def __init__(self, store: Store, sink: Sink):
        self.store, self.sink = store, sink
        self._ended = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name=f"outbox {sink.label}", daemon=True)
        self._thread.start()

    def close(self, seconds: float = 5.0) -> None:
        """Send what can be sent in that time; the rest waits for the next start."""
        deadline = now() + timedelta(seconds=seconds)
        while self.store.undelivered(self.sink.label) and now() < deadline and not self._failing:
            self._ended.wait(0.05)
        self._ended.set()
        self._thread.join(seconds)
        self.sink.close()

    def _run(self) -> None:
        while not self._ended.is_set():
            for row in self._due():
                if self._ended.is_set() or not self._sent(row):
                    break  # those behind it wait their turn
            self._ended.wait(IDLE_SECONDS)

    def _due(self) -> list[DeliveryRow]:
        query = (
            select(DeliveryRow)
            .where(DeliveryRow.sink == self.sink.label, DeliveryRow.sent_at.is_(None))
            .order_by(DeliveryRow.id)
            .limit(AT_ONCE)
        )
        with self.store.session() as session:
            rows = list(session.scalars(query))
        return rows if rows and rows[0].next_at <= now() else []

    def _sent(self, row: DeliveryRow) -> bool:
        """Whether the sink took it; if not, when to try again."""
        try:
            self.sink.send(row.id, row.payload)
        except OSError as error:
            tries = row.attempts + 1
            after = min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** min(tries - 1, 10))
            later = now() + timedelta(seconds=after)
            self.store.set_values(
                DeliveryRow, row.id, attempts=tries, problem=str(error)[:300], next_at=later
            )
            if not self._failing:
                log.warning("%s takes nothing (%s); it is tried again", self.sink.label, error)
            self._failing = True
            return False
        if self._failing:
            log.info("%s takes messages again", self.sink.label)
        self._failing = False
        self.store.set_values(
            DeliveryRow, row.id, attempts=row.attempts + 1, problem=None, sent_at=now()
        )
        return True
