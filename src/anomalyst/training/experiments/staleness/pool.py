"""The processes of a bench, started once, and what they are told to do."""

import os
import signal
import time
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import TYPE_CHECKING, Self

from torch._C._distributed_c10d import PrefixStore, TCPStore

from anomalyst.errors import AnomalystError
from anomalyst.training.experiments.staleness.config import Case, Work
from anomalyst.training.experiments.staleness.digits import Digits
from anomalyst.training.experiments.staleness.links import Report
from anomalyst.training.experiments.staleness.process import SLACK, Order, serve_orders

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess

POLL_S = 0.005  # between two looks at how far a run is


@dataclass(slots=True, kw_only=True)
class Harm:
    """What is done to a process when half the batches are taken, and what was seen then."""

    rank: int
    signal: int  # SIGKILL, or SIGSTOP: it never answers again, and nobody is told
    taken_before: int = 0
    taken_after: int = 0
    longest_pause_s: float = 0.0  # in which no batch was taken, after the harm


def meeting_store(port: int) -> TCPStore:
    """Where processes of this machine meet; port 0 is any that is free.

    Raises AnomalystError for a port in use.
    """
    try:
        return TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False)
    except RuntimeError as error:
        raise AnomalystError(
            f"--port {port}: cannot be listened at ({str(error).splitlines()[0][:120]}); take "
            "another, or 0 for any that is free."
        ) from None


class Pool:
    """So many processes; as a context they end with it, however it ends."""

    def __init__(self, count: int, digits: Digits, work: Work, port: int = 0) -> None:
        self.store, self.number = meeting_store(port), 0
        self.given = (digits, work)
        begun = [self._begin(rank) for rank in range(count)]
        self.pipes, self.processes = [p for p, _ in begun], [p for _, p in begun]

    def _begin(self, rank: int) -> "tuple[Connection, ForkServerProcess]":
        """A fork of a process that has imported torch and nothing else: it is there at once."""
        context = get_context("forkserver")
        context.set_forkserver_preload([serve_orders.__module__])
        ours, theirs = context.Pipe()
        words = (theirs, rank, self.store.port)
        process = context.Process(target=serve_orders, args=words, daemon=True)
        process.start()
        theirs.close()
        ours.send(self.given)
        return ours, process

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for pipe, process in zip(self.pipes, self.processes, strict=True):
            pipe.close()
            process.kill()  # a stopped one ends in no other way
        for process in self.processes:
            process.join()

    def step_seconds(self, workers: int) -> float:
        """How long a step should last: SLACK times what it takes while all workers compute."""
        for pipe in self.pipes[:workers]:
            pipe.send(None)
        return SLACK * max(pipe.recv() for pipe in self.pipes[:workers])

    def run(
        self, case: Case, step_s: float, batches: int, harm: Harm | None = None
    ) -> list[Report]:
        """Do a run; the reports of those that could give one.

        Raises AnomalystError where a process dies that nobody harmed.
        """
        self.number += 1
        pipes = dict(enumerate(self.pipes[: case.processes]))
        for pipe in pipes.values():
            pipe.send(Order(number=self.number, case=case, step_s=step_s))
        if harm:
            self._harm(harm, batches)
            pipes.pop(harm.rank)
        reports: list[Report] = []
        for rank, pipe in pipes.items():
            try:
                reports.append(pipe.recv())
            except EOFError:
                code = self.processes[rank].exitcode
                raise AnomalystError(
                    f"{case.name}: process {rank} ended with {code} (-9 is often a lack of "
                    "memory); the same command goes on after the runs that are done."
                ) from None
        if harm:
            self._replace(harm.rank)
        return reports

    def _replace(self, rank: int) -> None:
        """A new process in the place of one that was harmed."""
        self.processes[rank].kill()  # a stopped one is still there
        self.processes[rank].join()
        self.pipes[rank].close()
        self.pipes[rank], self.processes[rank] = self._begin(rank)

    def _harm(self, harm: Harm, batches: int) -> None:
        """Wait for half the batches, do it, and watch until all is taken or all pipes spoke."""
        counter = PrefixStore(f"run-{self.number}", self.store)
        while counter.add("taken", 0) < batches // 2 and not wait(self.pipes, POLL_S):
            pass
        pid = self.processes[harm.rank].pid
        assert pid is not None
        os.kill(pid, harm.signal)
        harm.taken_before = last = counter.add("taken", 0)
        others = [pipe for rank, pipe in enumerate(self.pipes) if rank != harm.rank]
        since = time.monotonic()
        while last < batches and not wait(others, POLL_S):
            now = counter.add("taken", 0)
            if now > last:
                since, last = time.monotonic(), now
            harm.longest_pause_s = max(harm.longest_pause_s, time.monotonic() - since)
        harm.taken_after = min(batches, counter.add("taken", 0))


KILL, STOP = signal.SIGKILL, signal.SIGSTOP
