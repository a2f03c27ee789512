"""Inspections that were submitted: waited for, and written to the store when they are done."""

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as WaitedTooLong
from typing import Any

from anomalyst.errors import AnomalystError, PictureError
from anomalyst.server.jobs.queue import JobQueue
from anomalyst.server.jobs.tasks import Inspect
from anomalyst.server.metrics import Metrics
from anomalyst.server.records.drift import DriftAlarms
from anomalyst.server.storage.owed import Kept, patiently
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import (
    ChangeRow,
    DeliveryRow,
    InspectionRow,
    Table,
    TurnRow,
)
from anomalyst.server.telemetry import Tracing, Untraced

log = logging.getLogger(__name__)
Done = Callable[[InspectionRow], None]
Written = tuple[list[Table], dict[str, Any]]  # rows beside an inspection, and its own values
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds between tries to write
DELIVERED = (
    "sense", "verdict", "unfit", "score", "p_value", "confidence", "guaranteed", "answer",
    "regions", "notes", "verdict_before_rules", "ruled", "severity",
)  # fmt: skip


class Follower(ABC):
    """A `Done` that hears of the verdict before it is written down: a line has no time for disks.

    It is called with the row in the end, as any other.
    """

    @abstractmethod
    def __call__(self, row: InspectionRow) -> None:
        """The inspection is written down."""

    @abstractmethod
    def found(self, verdict: str | None, problem: str) -> None:
        """What the model has just said, or why it could not; must not wait for anything."""

    @abstractmethod
    def kept(self) -> dict[str, Any]:
        """Columns to be written beside the verdict: what became of its signal."""


class InFlight:
    """Inspections between their submission to the queue and their result in the store."""

    def __init__(
        self,
        store: Store,
        queue: JobQueue,
        metrics: Metrics,
        drift: DriftAlarms,
        sinks: Sequence[str] = (),
        tracing: Tracing | None = None,
    ):
        self.store, self.queue, self.metrics, self.drift = store, queue, metrics, drift
        self.sinks, self.tracing = tuple(sinks), tracing or Untraced()
        self._waited_for: dict[str, Future[InspectionRow]] = {}
        self._traced: dict[str, Any] = {}  # inspection -> the span that it was asked in
        self._lock = threading.Lock()
        self._closing = threading.Event()
        # One writer: results are written down in the order they come, beside the model's work.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="writer")

    def __contains__(self, id: str) -> bool:
        return id in self._waited_for

    def ids(self) -> set[str]:
        """Those that are."""
        with self._lock:
            return set(self._waited_for)

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
        self._traced[row.id] = self.tracing.context()
        doing.add_done_callback(lambda result: self._hear(row, result, finished, on_done))

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
        """Write down what is done; what no database takes stays queued there."""
        self._closing.set()
        self._writer.shutdown(wait=True)

    def _hear(
        self,
        row: InspectionRow,
        result: "Future[dict[str, Any]]",
        finished: "Future[InspectionRow]",
        on_done: Done,
    ) -> None:
        """A result: whoever follows it hears it at once, then it is written down in its turn."""
        if isinstance(on_done, Follower) and not result.cancelled():
            error = result.exception()
            if error is None:
                on_done.found(result.result()["record"]["verdict"], "")
            else:
                on_done.found(None, str(error))
        self._writer.submit(self._finish, row, result, finished, on_done)

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
        if result.cancelled():  # the server is closing: it stays queued
            finished.set_result(row)
            self._forget(row.id)
            return
        try:
            beside = on_done.kept() if isinstance(on_done, Follower) else {}
            row = self._written(row, result, beside)
            finished.set_result(row)
        except Exception as error:
            log.exception("a result could not be written", extra={"inspection": row.id})
            finished.set_exception(error)
        finally:
            about = {"product": row.product, "verdict": row.verdict, "state": row.state}
            within = self._traced.pop(row.id, None)
            self.tracing.ended("inspection", row.created_at, within, id=row.id, **about)
            _tell(on_done, row)  # always: a watch counts its places by it
            self._forget(row.id)

    def _written(
        self, row: InspectionRow, result: "Future[dict[str, Any]]", signalled: dict[str, Any]
    ) -> InspectionRow:
        """The row as written; while the database is away it is tried again, those behind it wait.

        Raises SQLAlchemyError if the server closes meanwhile; the inspection is then done anew.
        """
        error = result.exception()
        if error is None:
            found = result.result()
            seen = row.product, found["revision"], found["record"]
            alarm = self._patiently(lambda: self.drift.see(*seen))
            beside, values = self._done(row, found, alarm)
        else:
            beside, values = self._failed(row, error)
        for message in beside:
            if isinstance(message, DeliveryRow):
                message.payload = message.payload | {"line": row.line} | signalled
        values |= signalled
        self._patiently(lambda: self.store.finish(row.id, beside=beside, **values))
        return self._patiently(lambda: self.store.inspection(row.id))

    def _patiently(self, work: Callable[[], Kept]) -> Kept:
        """What it gives, once the database takes it."""
        return patiently(work, self._closing, FIRST_PAUSE, LONGEST_PAUSE)

    def _failed(self, row: InspectionRow, error: BaseException) -> Written:
        reason = error.reason if isinstance(error, PictureError) else str(error)
        if not isinstance(error, AnomalystError):
            log.error("an inspection failed: %s", reason, extra={"inspection": row.id})
            reason = "our fault; it is in the server's log."
        self.metrics.failures.inc()
        messages = self._messages(row, {"problem": reason})
        return messages, {"state": "failed", "problem": reason}

    def _done(self, row: InspectionRow, found: dict[str, Any], alarm: str | None) -> Written:
        record = found["record"] | {"image": row.name}
        verdict = record["verdict"]
        self.metrics.inspections.labels(row.product, verdict, row.source).inc()
        self.metrics.seconds.observe(time.time() - row.created_at.timestamp())
        beside = self._messages(row, record, alarm)
        if alarm is not None:
            about = {"product": row.product, "kind": "drift", "by": "anomalyst"}
            beside.append(ChangeRow(detail={"text": alarm}, **about))
        if record.get("words") is not None:
            said = {"question": str(row.question), "answer": record["words"], "by": row.by}
            beside.append(TurnRow(inspection=row.id, **said))
        return beside, {
            "state": "done",
            "verdict": verdict,
            "uncertainty": 1.0 if verdict == "unsure" else 2 * (1 - record["confidence"]),
            "record": record,
            "alarm": alarm,
            **{name: record[name] for name in ("score", "p_value")},
            "severity": (record.get("severity") or {}).get("spreads"),
            **{name: found[name] for name in ("heat", "shown", "revision")},
        }

    def _messages(
        self, row: InspectionRow, record: dict[str, Any], alarm: str | None = None
    ) -> list[Table]:
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


def _tell(on_done: Done, row: InspectionRow) -> None:
    """Whoever asked to be told; what goes wrong there loses no result."""
    try:
        on_done(row)
    except Exception:
        log.exception("whoever waits for an inspection failed", extra={"inspection": row.id})
