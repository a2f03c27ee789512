"""One model process, and the queue before it: tasks wait here, inspections leave in batches."""

import gc
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from itertools import count, takewhile
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any, Protocol, cast

from anomalyst.errors import AnomalystError
from anomalyst.server.config import ServingConfig
from anomalyst.server.errors import CLOSING, Busy
from anomalyst.server.jobs.tasks import Inspect, Segment, Task
from anomalyst.server.pauses import pause_after

if TYPE_CHECKING:
    from anomalyst.server.jobs.worker import Model

Say = Callable[[str], None]
log = logging.getLogger(__name__)
PRELOADED = "anomalyst.server.jobs.preloaded"  # imports torch, which the server never does
IDLE_SECONDS = 2.0  # without a task, after which memory is given back
CRASHED_TWICE = (
    "the model process ended while it worked on this, twice; the picture may need more memory "
    "than there is. Send it smaller."
)
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds between tries to read the model
STOPPED = "it was stopped."
ASIDE_NICE = 10  # how far the work of a second process steps back behind the first one's
ASIDE_SECONDS = 20.0  # without a task, after which that process ends and its memory is free
Starter = Callable[[ServingConfig, Connection, Connection, bool], BaseProcess]
TRIES = 2  # a task during which the model process dies is tried once more, alone


class JobQueue(Protocol):
    """Where tasks are done: this machine's model process, or Ray's replicas (app.py)."""

    def start(self) -> None:
        """Begin to read the model; the first task does it, too."""

    def submit(self, task: Task, say: Say = lambda _: None) -> "Future[dict[str, Any]]":
        """The task's result, once it is done. Raises Busy while the server closes."""

    @property
    def ready(self) -> bool:
        """Whether the model has been read."""

    @property
    def problem(self) -> str | None:
        """Why the model cannot be read, where it was tried; it is tried again."""

    @property
    def waiting(self) -> int:
        """How many tasks wait or are being done."""

    def cancel(self, future: "Future[dict[str, Any]]") -> bool:
        """Give a task up, even one that is being done where that can be; whether it was."""

    def close(self, seconds: float) -> None:
        """Finish what is being done; what waits is given up, and stays in the store."""


class Stopped(AnomalystError):
    """Somebody stopped the task."""


@dataclass(slots=True, eq=False)
class Waiting:
    """A task and who waits for it."""

    task: Task
    say: Say
    future: "Future[dict[str, Any]]" = field(default_factory=Future)
    tries: int = 0
    stopped: bool = False


class ProcessQueue:
    """A queue and one model process; if that dies, another takes its place.

    `aside`: its work steps back behind that of other processes, and the process ends while there is
    nothing to do. `starter`: starts a model process; None: one that reads the model itself.
    """

    def __init__(
        self,
        config: ServingConfig,
        on_batch: Callable[[int, float], None] = lambda *_: None,
        *,
        aside: bool = False,
        starter: Starter | None = None,
    ):
        self.config, self.on_batch, self.aside = config, on_batch, aside
        self._starter = starter or spawned
        self._queue: deque[Waiting] = deque()
        self._changed = threading.Condition()
        self._in_hand: list[Waiting] = []
        self._begun = False
        self._closing = False
        self._unread: AnomalystError | None = None  # why the model cannot be read
        self.ready = False
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self._thread = threading.Thread(target=self._run, name="queue", daemon=True)

    def start(self) -> None:
        """Begin to read the model, in a process of its own; again: nothing."""
        with self._changed:
            if self._begun or self._closing:
                return
            self._begun = True
            self._thread.start()  # with the lock: who closes joins a thread that has begun

    @property
    def waiting(self) -> int:
        """How many tasks wait or are being done."""
        return len(self._queue) + len(self._in_hand)

    @property
    def problem(self) -> str | None:
        """Why the model cannot be read now; inspections wait until it can be."""
        return str(self._unread) if self._unread is not None else None

    @property
    def pid(self) -> int | None:
        """Of the model process that works now."""
        running = self._process is not None and self._pipe is not None
        return self._process.pid if running and self._process else None

    def submit(self, task: Task, say: Say = lambda _: None) -> "Future[dict[str, Any]]":
        """Put a task at the end of the queue; a click, which takes little, after other clicks.

        While the model cannot be read, what somebody waits for fails at once; inspections, which
        were acknowledged, wait.
        """
        one = Waiting(task, say)
        self.start()
        with self._changed:
            if self._closing:
                raise Busy(CLOSING)
            if self._unread is not None and not isinstance(task, Inspect):
                one.future.set_exception(_not_now(self._unread))
                return one.future
            clicks = takewhile(lambda other: isinstance(other.task, Segment), self._queue)
            at = sum(1 for _ in clicks) if isinstance(task, Segment) else len(self._queue)
            self._queue.insert(at, one)
            self._changed.notify()
        return one.future

    def cancel(self, future: "Future[dict[str, Any]]", *, in_hand: bool = True) -> bool:
        """Give a task up; of one that is `in_hand` the process is ended, and another starts."""
        with self._changed:
            for one in self._queue:
                if one.future is future:
                    self._queue.remove(one)
                    future.set_exception(Stopped(STOPPED))
                    return True
            for one in self._in_hand if in_hand else ():
                if one.future is future and self._process is not None:
                    one.stopped = True
                    if self.ready:  # else it is seen before the task is begun
                        self._process.kill()
                    return True
        return False

    def close(self, seconds: float = 30.0) -> None:
        """End after the batch in hand; the others are cancelled."""
        with self._changed:
            self._closing = True
            left, self._queue = list(self._queue), deque()
            self._changed.notify()
        for one in left:
            one.future.cancel()
        if self._begun:
            self._thread.join(seconds)
        self._stop()

    def _run(self) -> None:
        self._start()
        self._await_ready()
        while batch := self._next():
            if self._pipe is None:  # it had nothing to do, and ended
                self._start()
                self._await_ready()
            started = time.perf_counter()
            self._do(batch)
            self.on_batch(len(batch), time.perf_counter() - started)
            with self._changed:
                self._in_hand = []

    def _next(self) -> list[Waiting]:
        """The next batch: one task, or the inspections that may be done with the first."""
        with self._changed:
            while not self._queue and not self._closing:
                if not self._changed.wait(ASIDE_SECONDS if self.aside else None):
                    self._stop()
            if self._closing:
                return []
            batch = [self._queue.popleft()]
            while (
                self._queue
                and len(batch) < self.config.limits.together
                and _together(batch[-1], self._queue[0])
            ):
                batch.append(self._queue.popleft())
            self._in_hand = batch
            return batch

    def _do(self, batch: list[Waiting]) -> None:
        if batch[0].stopped:  # while its process was being started; what can be stopped is alone
            batch[0].future.set_exception(Stopped(STOPPED))
            return
        try:
            results = self._asked(batch)
        except (EOFError, OSError):
            self._revive(batch)
            return
        for one, result in zip(batch, results, strict=True):
            try:
                if isinstance(result, Exception):
                    one.future.set_exception(result)
                else:
                    one.future.set_result(result)
            except InvalidStateError:  # nobody waits for it any more
                log.debug("a result came after its task was cancelled")

    def _asked(self, batch: list[Waiting]) -> list[Any]:
        pipe = self._pipe
        if pipe is None:  # the server closed while the model was being read
            raise EOFError
        pipe.send([one.task for one in batch])
        while True:
            kind, value = pipe.recv()
            if kind == "say":
                batch[0].say(value)
            else:
                return list(value)

    def _revive(self, batch: list[Waiting]) -> None:
        """The model process is gone: start another, and try the tasks again, each alone."""
        self._stop()
        if self._closing:
            for one in batch:
                one.future.cancel()
            return
        if not any(one.stopped for one in batch):
            log.error("the model process ended; another one starts", extra={"tasks": len(batch)})
        again = []
        for one in batch:
            one.tries += 1
            if one.stopped:
                one.future.set_exception(Stopped(STOPPED))
                continue
            if one.tries < TRIES or len(batch) > 1:
                again.append(one)
            else:
                one.future.set_exception(AnomalystError(CRASHED_TWICE))
        with self._changed:
            self._queue.extendleft(reversed(again))
        if not self.aside:  # else with its next task
            self._start()
            self._await_ready()

    def _start(self) -> None:
        """Without a pipe where it could not be started: `_await_ready` tries again."""
        ours, theirs = multiprocessing.Pipe()
        self._process = None
        try:
            self._process = self._starter(self.config, ours, theirs, self.aside)
            self._pipe = ours
        except (EOFError, OSError) as error:  # what model processes are forked from has ended
            log.error("no model process could be started: %r", error)
            ours.close()
        finally:
            theirs.close()

    def _await_ready(self) -> None:
        """Until a model process has read the model, one after another, or the server closes.

        A cause may pass, as a lack of memory does, and nothing acknowledged may be lost by it.
        """
        for tries in count(1):
            unread = self._first_word()
            if self._closing:
                return
            if unread is None:
                break
            pause = pause_after(tries, FIRST_PAUSE, LONGEST_PAUSE)
            log.error("the model cannot be used: %s; tried again in %g s", unread, pause)
            with self._changed:
                self._unread = unread
                self._fail_what_is_awaited(unread)
                if self._changed.wait_for(lambda: self._closing, pause):
                    return
            self._stop()
            self._start()
        self._unread, self.ready = None, True

    def _first_word(self) -> AnomalystError | None:
        """Of a model process: that it has read the model (None), or why it cannot."""
        try:
            if self._pipe is None:
                raise EOFError
            unread: AnomalystError | None = self._pipe.recv()[1]
        except (EOFError, OSError):
            return AnomalystError("the model process ended while it read the model.")
        return unread

    def _fail_what_is_awaited(self, unread: AnomalystError) -> None:
        """Inspections stay in the queue; of anything else somebody waits for the answer."""
        awaited = [one for one in self._queue if not isinstance(one.task, Inspect)]
        self._queue = deque(one for one in self._queue if isinstance(one.task, Inspect))
        for one in awaited:
            one.future.set_exception(_not_now(unread))

    def _stop(self) -> None:
        self.ready = False
        pipe, self._pipe = self._pipe, None  # first: who closes the queue may stop it, too
        if pipe is not None:
            pipe.close()
        if self._process is not None:
            self._process.join(1)
            self._process.terminate()  # nothing, if it has ended
            self._process.join(2)
            self._process.kill()


def _context() -> BaseContext:
    """Where forking is safe, from a process that has imported torch and computed nothing yet.

    The second model process, and each after a crash, then starts at once and shares its code.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([PRELOADED])
    return context


def _not_now(unread: AnomalystError) -> Busy:
    return Busy(f"the model cannot be used now ({str(unread).rstrip('.')}); it is tried again.")


def _together(one: Waiting, following: Waiting) -> bool:
    """Whether two tasks may be done in one batch: inspections of a product as it is now.

    After a crash each is done alone, so that only the one at fault fails.
    """
    first, second = one.task, following.task
    if not (isinstance(first, Inspect) and isinstance(second, Inspect)):
        return False
    return first.batch == second.batch and not one.tries and not following.tries


def spawned(config: ServingConfig, _: Connection, pipe: Connection, aside: bool) -> BaseProcess:
    """A model process, started; it gets the second end of the pipe."""
    process = _context().Process(  # type: ignore[attr-defined]
        target=work_aside if aside else work, args=(config, pipe),
        name="anomalyst-teaching" if aside else "anomalyst-model", daemon=True,
    )  # fmt: skip
    process.start()
    return cast(BaseProcess, process)


def work_aside(config: ServingConfig, pipe: Connection) -> None:
    """A model process that steps back behind others."""
    if hasattr(os, "nice"):
        os.nice(ASIDE_NICE)
    work(config, pipe)


def work(config: ServingConfig, pipe: Connection, model: "Model | None" = None) -> None:
    """The model process: reads the model unless it is given, then does tasks until the server ends.

    It ends with the server even in the middle of a task: the next server does that again, and
    must not find somebody else at work on the same product.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the server, which ends us
    threading.Thread(target=_end_with_server, name="server gone", daemon=True).start()
    from anomalyst.hardware.allocator import keep_freed_memory, release_freed_memory

    keep_freed_memory()
    try:
        model = model or _read(config)
    except AnomalystError as error:
        pipe.send(("broken", error))
        return
    pipe.send(("ready", None))
    while True:
        try:
            if not pipe.poll(IDLE_SECONDS):
                gc.collect()  # errors hold on to the pictures they are about
                release_freed_memory()
            tasks = pipe.recv()
        except EOFError:
            return
        pipe.send(("done", _done(model, tasks, lambda text: pipe.send(("say", text)))))


def _read(config: ServingConfig) -> "Model":
    from anomalyst.server.jobs.worker import Model  # torch

    return Model(config)


def _end_with_server() -> None:
    server = multiprocessing.parent_process()
    if server is not None:
        server.join()
        os._exit(1)  # as by kill -9: what it writes is whole or not there at every moment


def _done(model: Any, tasks: list[Task], say: Say) -> list[Any]:
    try:
        return list(model.do(tasks, say))
    except Exception as error:  # our fault; the others' tasks go on
        logging.getLogger(__name__).exception("a task failed")
        return [RuntimeError(f"{type(error).__name__}: {error}")] * len(tasks)
