"""Jobs that take long: started, told of, cancelled, and taken up again after a crash."""

import logging
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from anomalyst.errors import AnomalystError
from anomalyst.server.errors import CLOSING, Busy, Conflict
from anomalyst.server.jobs.queue import JobQueue, Stopped
from anomalyst.server.jobs.tasks import Task
from anomalyst.server.storage.jobs import job, jobs, set_job
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import ACTIVE, JobRow, now
from anomalyst.server.telemetry import Tracing

log = logging.getLogger(__name__)
Say = Callable[[str], None]
Do = Callable[[Task], dict[str, Any]]  # a task's result
Handler = Callable[[JobRow, Do], dict[str, Any]]  # a job's result
HOW_FAR = re.compile(r"(\d+) of (\d+) ")
WRITTEN_SECONDS = 0.5  # between two writes of how far a job is
AGAIN_SECONDS = 5.0  # until a job is tried again while the model cannot be used, or the database
LOOK_SECONDS = 0.5  # between looks for what another server does
STOPPING_SECONDS = 15.0  # until what was being done is given up
OUR_FAULT = "our fault; it is in the server's log."


@dataclass(slots=True, eq=False)
class Doing:
    """A job of this server that has not ended."""

    say: Say
    ended: threading.Event = field(default_factory=threading.Event)
    task: "Future[dict[str, Any]] | None" = None
    stopped: bool = False
    written: float = 0.0
    within: Any = None  # the trace of the request that began it


class Background:
    """One job after another, beside everything else; each is a row of the store."""

    def __init__(
        self,
        store: Store,
        queue: JobQueue,
        owner: str,
        tracing: Tracing,
        is_gone: Callable[[str], bool] = lambda _: True,
    ):
        """`is_gone`: whether an owner of jobs is not there any more."""
        self.is_gone = is_gone
        self.store, self.queue, self.owner, self.tracing = store, queue, owner, tracing
        self.handlers: dict[str, Handler] = {}
        self._doing: dict[str, Doing] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="background")

    def start(
        self, kind: str, product: str, asked: dict[str, Any], *, by: str, say: Say = lambda _: None
    ) -> JobRow:
        """Take a job in; from here on it is not lost. Raises Busy while the server closes."""
        row = JobRow(kind=kind, product=product, by=by, owner=self.owner, asked=asked)
        if self._closing.is_set():
            raise Busy(CLOSING)
        self.store.keep(row)
        self._submit(row, say)
        return row

    def resume(self) -> int:
        """Take up what an earlier server did not finish, the oldest first; returns how many."""
        left = [
            row
            for row in jobs(self.store, active=True, limit=None)
            if row.owner == self.owner and row.id not in self._doing
        ]
        for row in reversed(left):
            self._submit(row)
        return len(left)

    def active(self, product: str) -> list[JobRow]:
        """Jobs that change a product and have not ended."""
        found = jobs(self.store, product=product, active=True, limit=None)
        return [row for row in found if row.kind != "compare"]

    def refuse_while_active(self, product: str) -> None:
        """Raise Conflict while a product is being taught."""
        for row in self.active(product):
            raise Conflict(
                f"product {product!r} is being taught (job {row.id}); wait for it, or cancel it."
            )

    def cancel(self, id: str) -> JobRow:
        """Give a job up; the product stays as it is. Raises Conflict for one that has ended."""
        row = job(self.store, id)
        if row.state not in ACTIVE:
            raise Conflict(f"job {id} is {row.state} already.")
        doing = self._doing.get(id)
        if doing is None:
            if row.owner != self.owner and not self.is_gone(row.owner):
                raise Conflict(f"job {id} is done by {row.owner}, another one; cancel it there.")
            set_job(self.store, id, state="cancelled", ended_at=now())
            return job(self.store, id)
        with self._lock:
            doing.stopped = True
            task = doing.task
        if task is not None and not task.done() and not self.queue.cancel(task):
            doing.stopped = False
            raise Conflict(f"job {id} cannot be stopped where it is being done now.")
        if not set_job(self.store, id, only=("queued",), state="cancelled", ended_at=now()):
            doing.ended.wait(STOPPING_SECONDS)
        return job(self.store, id)

    def wait(self, id: str, seconds: float | None = None) -> JobRow:
        """A job once it has ended, or as it is after so many seconds.

        One that another server does is looked for in the store.
        """
        end = None if seconds is None else time.monotonic() + seconds
        while True:
            if (doing := self._doing.get(id)) is not None:
                doing.ended.wait(seconds)
            row = job(self.store, id)
            if row.state not in ACTIVE or row.owner == self.owner:
                return row
            if (end is not None and time.monotonic() > end) or self._closing.wait(LOOK_SECONDS):
                return row

    def begin_closing(self) -> None:
        """No further job begins; those that have not ended wait in the store."""
        self._closing.set()

    def close(self) -> None:
        """After the queue was closed, which gives up what is being done."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        for doing in list(self._doing.values()):
            doing.ended.set()

    def _submit(self, row: JobRow, say: Say = lambda _: None) -> None:
        self._doing[row.id] = Doing(say, within=self.tracing.context())
        try:
            self._pool.submit(self._run, row)
        except RuntimeError:  # the server closes: the next one takes it up
            del self._doing[row.id]

    def _run(self, row: JobRow) -> None:
        doing = self._doing[row.id]
        try:
            while (ending := self._tried(row, doing)) is None:
                if self._closing.wait(AGAIN_SECONDS):
                    return  # it stays in the store, and is taken up at the next start
            if ending:
                self._written(lambda: set_job(self.store, row.id, ended_at=now(), **ending))
                about = {"product": row.product, "state": ending["state"], "id": row.id}
                self.tracing.ended(row.kind, row.created_at, doing.within, **about)
        finally:
            doing.ended.set()
            self._doing.pop(row.id, None)

    def _tried(self, row: JobRow, doing: Doing) -> dict[str, Any] | None:
        """What is written of a job at its end; None: try again later; nothing: it has ended."""
        try:
            if not set_job(self.store, row.id, state="running"):
                return {}
            result = self.handlers[row.kind](row, lambda task: self._do(row, doing, task))
            return {"state": "done", "result": result}
        except Stopped:
            return {"state": "cancelled"}
        except (Busy, CancelledError, SQLAlchemyError) as passing:
            if not self._closing.is_set():
                log.warning("job %s waits: %s", row.id, passing)
            return None
        except AnomalystError as error:
            return {"state": "failed", "problem": str(error)}
        except Exception:
            if self._closing.is_set():
                return None
            log.exception("job %s failed", row.id)
            return {"state": "failed", "problem": OUR_FAULT}

    def _do(self, row: JobRow, doing: Doing, task: Task) -> dict[str, Any]:
        with self._lock:
            if doing.stopped:
                raise Stopped("it was stopped.")
            if self._closing.is_set():
                raise Busy(CLOSING)
            doing.task = self.queue.submit(task, lambda text: self._say(row, doing, text))
        return doing.task.result()

    def _say(self, row: JobRow, doing: Doing, text: str) -> None:
        """Tell how far it is, and write it down now and then."""
        doing.say(text)
        found, when = HOW_FAR.match(text), time.monotonic()
        last = found is not None and found[1] == found[2]
        if when - doing.written < WRITTEN_SECONDS and not last:
            return
        doing.written = when
        far: dict[str, Any] = {"done": int(found[1]), "total": int(found[2])} if found else {}
        try:
            set_job(self.store, row.id, said=text, **far)
        except SQLAlchemyError as error:  # it is told again soon
            log.warning("job %s: how far it is could not be written: %s", row.id, error)

    def _written(self, write: Callable[[], Any]) -> None:
        """Write, once the database takes it."""
        while True:
            try:
                write()
                return
            except SQLAlchemyError as error:
                log.error("the database takes nothing (%s); tried again", error)
                if self._closing.wait(AGAIN_SECONDS):
                    return
