"""As many threads as there is room for: all while alone, one beside another busy program."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

CROWDED = 0.8  # share of its time that a thread is let compute, below which others want the cores
LEAST_S = 0.05  # shorter work says little by itself
WAITS = (8, 256)  # pieces of work on one thread before all are tried again: at first, and at most


class RoomForThreads:
    """Chooses torch's threads for each piece of work by how the one before it went.

    Threads of one job wait for each other awake, which is quickest while each has a core. Where
    another program wants the cores, too, the one waited for may be the one that is not let run,
    and two jobs are slower together than one after the other by far (docs/benchmarks.md). So work
    that was not let compute is followed by work on one thread; now and then all are tried again.
    """

    def __init__(self) -> None:
        self.all: int | None = None  # threads torch had when the first work began
        self.left = 0  # pieces of work that stay on one thread
        self.wait = WAITS[0]
        self.wall_s = self.own_s = 0.0  # of the work with all threads that is not judged yet

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """One piece of work; it must not wait for anything but its own computing."""
        import torch

        if self.all is None:
            self.all = torch.get_num_threads()
        if self.all == 1:
            yield
            return
        used = 1 if self.left > 0 else self.all
        torch.set_num_threads(used)
        wall, own = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            torch.set_num_threads(self.all)
            self.went(used, time.perf_counter() - wall, time.thread_time() - own)

    def went(self, used: int, wall_s: float, own_s: float) -> None:
        """What the work says of the next: it took `wall_s`, and the thread was let run `own_s`."""
        if used == 1:
            self.left -= 1
            return
        self.wall_s += wall_s
        self.own_s += own_s
        if self.wall_s < LEAST_S:
            return
        if self.own_s < CROWDED * self.wall_s:
            self.left = self.wait
            self.wait = min(2 * self.wait, WAITS[1])
        else:
            self.wait = WAITS[0]
        self.wall_s = self.own_s = 0.0
