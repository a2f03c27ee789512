"""Two model processes: one inspects and answers, the other teaches, so that nobody waits for it."""

import threading
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any

from anomalyst.server.config import ServingConfig
from anomalyst.server.jobs.queue import ProcessQueue, Say
from anomalyst.server.jobs.tasks import (
    Accept,
    Compare,
    DecideOdd,
    Learn,
    LearnKinds,
    SetAreas,
    SetMeasuring,
    Task,
    Teach,
    Unlearn,
    Withdraw,
)

Result = Future[dict[str, Any]]


class Lanes:
    """Where tasks are done: what takes long aside, at a lower priority; all else at once.

    Changes of one product are made one after another, whichever lane makes them: each reads the
    product, and writes it whole.
    """

    def __init__(
        self,
        config: ServingConfig,
        on_batch: Callable[[int, float], None] = lambda *_: None,
    ):
        self.first, self.aside = ProcessQueue(config, on_batch), ProcessQueue(config, aside=True)
        self._turns = threading.Lock()
        self._quick: dict[str, set[Result]] = defaultdict(set)  # changes under way, by product
        self._long: dict[str, set[Result]] = defaultdict(set)

    def start(self) -> None:
        """Begin to read the model of the first; the other begins with its first task."""
        self.first.start()

    @property
    def ready(self) -> bool:
        """Whether inspections can be done."""
        return self.first.ready

    @property
    def problem(self) -> str | None:
        """Why the model cannot be read, where it was tried."""
        return self.first.problem

    @property
    def waiting(self) -> int:
        """How many tasks wait or are being done."""
        return self.first.waiting + self.aside.waiting

    @property
    def pid(self) -> int | None:
        """Of the process that inspects."""
        return self.first.pid

    def submit(self, task: Task, say: Say = lambda _: None) -> Result:
        """A task's result. A long one waits here for changes of its product that are under way."""
        if takes_long(task):
            return self._submit_long(task, say)
        if not isinstance(task, Accept | Withdraw | SetMeasuring | Teach):
            return self.first.submit(task, say)
        with self._turns:
            queue = self.aside if self._long[task.product] else self.first
            return _kept(self._quick[task.product], queue.submit(task, say))

    def cancel(self, future: Result) -> bool:
        """Give a task up; a long one even while it is being done."""
        return self.aside.cancel(future) or self.first.cancel(future, in_hand=False)

    def close(self, seconds: float) -> None:
        """What is done aside is given up, for it is taken up again at the next start."""
        self.aside.close(0)
        self.first.close(seconds)

    def _submit_long(self, task: Task, say: Say) -> Result:
        name: str = task.product  # type: ignore[union-attr]
        while True:
            with self._turns:
                under_way = {one for one in set(self._quick[name]) if not one.done()}
                if not under_way or self._long[name]:
                    return _kept(self._long[name], self.aside.submit(task, say))
            wait(under_way)


def takes_long(task: Task) -> bool:
    """Whether it looks at many pictures, or learns."""
    if isinstance(task, Teach):
        return bool(task.good)  # with none, only what is told of the product changes
    return isinstance(task, Learn | LearnKinds | SetAreas | Unlearn | Compare | DecideOdd)


def _kept(some: set[Result], future: Result) -> Result:
    """The future, which is among `some` until it is done."""
    some.add(future)
    future.add_done_callback(some.discard)
    return future
