"""Inspections that were submitted: waited for, and written to the store when they are done."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as WaitedTooLong
from typing import Any

from anomalyst.errors import AnomalystError, PictureError
from anomalyst.server.jobs.queue import JobQueue
from anomalyst.server.jobs.tasks import Inspect
from anomalyst.server.metrics import Metrics
from anomalyst.server.records.drift import DriftAlarms
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import DeliveryRow, InspectionRow, TurnRow

log = logging.getLogger(__name__)
Done = Callable[[InspectionRow], None]
DELIVERED = (
    "sense", "verdict", "score", "p_value", "confidence", "guaranteed", "answer", "regions",
    "notes", "verdict_before_rules", "ruled",
)  # fmt: skip


class InFlight:
    """Inspections between their submission to the queue and their result in the store."""

    def __init__(
        self,
        store: Store,
        queue: JobQueue,
        metrics: Metrics,
        drift: DriftAlarms,
        sinks: Sequence[str] = (),
    ):
        self.store, self.queue, self.metrics, self.drift = store, queue, metrics, drift
        self.sinks = tuple(sinks)
        self._waited_for: dict[str, Future[InspectionRow]] = {}
        self._lock = threading.Lock()
        # One writer: results are written down in the order they come, beside the model's work.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="writer")

    def __len__(self) -> int:
        return len(self._waited_for)

    def start(self, row: InspectionRow, on_done: Done = lambda _: None) -> None:
        """Submit an inspection, unless it has been submitted already."""
        finished: Future[InspectionRow] = Future()
        with self._lock:
            if row.id in self._waited_for:
                return
            self._waited_for[row.id] = finished
        task = Inspect(
            image=self.store.pictures.path(row.picture),
            product=row.product,
            false_alarm_rate=row.false_alarm_rate,
            question=row.question,
            beside=tuple(
                (sense, self.store.pictures.path(name))
                for sense, name in (row.beside or {}).items()
            ),
        )
        try:
            doing = self.queue.submit(task)
        except AnomalystError:
            self._forget(row.id)
            raise
        doing.add_done_callback(
            lambda result: self._writer.submit(self._finish, row, result, finished, on_done)
        )

    def wait(self, id: str, seconds: float) -> InspectionRow | None:
        """An inspection once it is written down; None if it is not in flight, or takes longer."""
        with self._lock:
            waited_for = self._waited_for.get(id)
        try:
            return waited_for.result(seconds) if waited_for is not None else None
        except WaitedTooLong:
            log.info("still waiting", extra={"inspection": id})
            return None

    def close(self) -> None:
        """Write down what is done."""
        self._writer.shutdown(wait=True)

    def _forget(self, id: str) -> None:
        with self._lock:
            self._waited_for.pop(id, None)

    def _finish(
        self,
        row: InspectionRow,
        result: "Future[dict[str, Any]]",
        finished: "Future[InspectionRow]",
        on_done: Done,
    ) -> None:
        """Write a result down, then tell who waits for it."""
        try:
            if not result.cancelled():  # else the server is closing: it stays queued
                error = result.exception()
                row = self._failed(row, error) if error else self._done(row, result.result())
                on_done(row)
            finished.set_result(row)
        except Exception as error:
            log.exception("a result could not be written", extra={"inspection": row.id})
            finished.set_exception(error)
        finally:
            self._forget(row.id)

    def _failed(self, row: InspectionRow, error: BaseException) -> InspectionRow:
        reason = error.reason if isinstance(error, PictureError) else str(error)
        if not isinstance(error, AnomalystError):
            log.error("an inspection failed: %s", reason, extra={"inspection": row.id})
            reason = "our fault; it is in the server's log."
        self.metrics.failures.inc()
        messages = self._messages(row, {"problem": reason})
        return self.store.finish(row.id, beside=messages, state="failed", problem=reason)

    def _done(self, row: InspectionRow, found: dict[str, Any]) -> InspectionRow:
        record = found["record"] | {"image": row.name}
        verdict = record["verdict"]
        self.metrics.inspections.labels(row.product, verdict, row.source).inc()
        self.metrics.seconds.observe(time.time() - row.created_at.timestamp())
        alarm = self.drift.see(row.product, found["revision"], record)
        beside: list[TurnRow | DeliveryRow] = [*self._messages(row, record, alarm)]
        if record.get("words") is not None:
            said = {"question": str(row.question), "answer": record["words"], "by": row.by}
            beside.append(TurnRow(inspection=row.id, **said))
        return self.store.finish(
            row.id,
            beside=beside,
            state="done",
            verdict=verdict,
            uncertainty=1.0 if verdict == "unsure" else 2 * (1 - record["confidence"]),
            record=record,
            alarm=alarm,
            **{name: record[name] for name in ("score", "p_value")},
            **{name: found[name] for name in ("heat", "shown", "revision")},
        )

    def _messages(
        self, row: InspectionRow, record: dict[str, Any], alarm: str | None = None
    ) -> list[DeliveryRow]:
        payload = {
            "id": row.id,
            "product": row.product,
            "picture": row.name,
            "taken_at": row.created_at.isoformat(),
            **{name: record.get(name) for name in DELIVERED},
            "problem": record.get("problem"),
            "drift_alarm": alarm,
        }
        return [DeliveryRow(sink=sink, payload=payload) for sink in self.sinks]
