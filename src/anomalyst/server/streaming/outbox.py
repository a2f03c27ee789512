"""At-least-once delivery: messages wait in the store until their sink has taken them.

One that its sink refuses for good is set aside with an alarm, and those behind it go on; it is
kept, and `anomalyst store messages --replay` sends it again.
"""

import hashlib
import logging
import threading
from datetime import timedelta
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from anomalyst.io.locks import Lock
from anomalyst.server.pauses import pause_after
from anomalyst.server.storage import messages
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import DeliveryRow, now
from anomalyst.server.streaming.sinks import RefusedForGood, Sink

log = logging.getLogger(__name__)
FIRST_SECONDS, LONGEST_SECONDS = 1.0, 15.0  # between tries
AT_ONCE = 50
IDLE_SECONDS = 0.2


class Outbox:
    """Sends what waits for one sink, in the order it came, in a thread of its own."""

    def __init__(self, store: Store, sink: Sink, locks: Path):
        """`locks`: a folder that all who send from this store have in common."""
        self.store, self.sink = store, sink
        name = hashlib.sha256(sink.label.encode()).hexdigest()[:16]
        self._turn = Lock(locks / f"{name}.lock")  # two that send at once would send all twice
        self._taken: str | None = None  # a message that the sink has, and the store does not know
        self._ended = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name=f"outbox {sink.label}", daemon=True)
        self._thread.start()

    def close(self, seconds: float = 5.0) -> None:
        """Send what can be sent in that time; the rest waits for the next start."""
        deadline = now() + timedelta(seconds=seconds)
        try:
            while self._waiting() and now() < deadline and not self._failing:
                self._ended.wait(0.05)
        except SQLAlchemyError as error:
            log.warning("messages to %s stay where they are (%s)", self.sink.label, error)
        finally:
            self._ended.set()
        self._thread.join(seconds)
        self._turn.release()
        self.sink.close()

    def _waiting(self) -> int:
        return messages.count_waiting(self.store, self.sink.label)

    def _run(self) -> None:
        failed = 0
        while not self._ended.is_set():
            try:
                self._send_due()
                failed = 0
            except Exception:  # a locked database, a fault of ours: the thread goes on
                failed += 1
                if failed == 1:
                    log.exception("messages to %s are held up; tried again", self.sink.label)
            self._ended.wait(_pause(failed) if failed else IDLE_SECONDS)

    def _send_due(self) -> None:
        if not self._turn.take():  # another process sends what waits, ours too
            return
        rows = messages.waiting(self.store, self.sink.label, AT_ONCE)
        if not rows or rows[0].next_at > now():
            return
        for row in rows:
            if self._ended.is_set() or not self._sent(row):
                return  # those behind it wait their turn

    def _sent(self, row: DeliveryRow) -> bool:
        """Whether the next one may be sent: the sink took this one, or refused it for good."""
        try:
            if self._taken != row.id:
                self.sink.send(row.id, row.payload)
        except RefusedForGood as error:
            messages.set_aside(self.store, row, str(error)[:300])
            log.error(
                "%s refused a message for good (%s); it is set aside, look at it with "
                "`anomalyst store messages`", self.sink.label, error, extra={"message": row.id}
            )  # fmt: skip
            return True
        except OSError as error:
            tries = row.attempts + 1
            later = now() + timedelta(seconds=_pause(tries))
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
        self._taken = row.id
        self.store.set_values(
            DeliveryRow, row.id, attempts=row.attempts + 1, problem=None, sent_at=now()
        )
        self._taken = None
        return True


def _pause(tries: int) -> float:
    return pause_after(tries, FIRST_SECONDS, LONGEST_SECONDS)
