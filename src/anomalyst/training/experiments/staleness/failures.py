"""A worker killed, a server killed, a worker that never comes back: what goes on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from anomalyst.training.experiments.staleness.config import BOUNDED, Case, StalenessBench
from anomalyst.training.experiments.staleness.digits import DigitTask
from anomalyst.training.experiments.staleness.pool import KILL, STOP, Harm, Pool
from anomalyst.training.experiments.staleness.results import path_of

HOW: dict[int, str] = {KILL: "killed", STOP: "never returns"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One run in which a process failed half way."""

    case: Case
    victim: str  # worker, server
    how: str  # killed, never returns
    batches_before: int
    batches_after: int  # taken up since, by those that were left
    longest_pause_s: float
    finished: int  # workers that did all there was to do
    left: int  # workers that were left
    accuracy: float | None  # of the model at the end; None: it is lost

    @property
    def name(self) -> str:
        """A file's name."""
        return f"{self.case.name}-{self.victim}-{self.how.replace(' ', '-')}"

    @property
    def goes_on(self) -> str:
        """In words."""
        if self.finished == self.left:
            return "goes on to the end"
        if not self.finished:
            return "all stop"
        return f"{self.finished} of {self.left} go on"


def failure_cases(bench: StalenessBench) -> Iterator[tuple[Case, Harm]]:
    """Of every topology BSP and ASP (or one average) at the largest number of workers.

    The victim is the last worker, or the first server.
    """
    workers = max(bench.workers)
    for topology in bench.topologies:
        if topology in BOUNDED:
            cases = [Case(topology=topology, workers=workers, bound=b) for b in (0, None)]
        else:
            cases = [Case(topology=topology, workers=workers, every=bench.every[0])]
        for case in cases:
            for how in (KILL, STOP):
                yield case, Harm(rank=workers - 1, signal=how)
            if topology == "server":
                yield case, Harm(rank=workers, signal=KILL)


def name_of(case: Case, harm: Harm) -> str:
    """As the failure's own."""
    victim = "server" if harm.rank >= case.workers else "worker"
    return f"{case.name}-{victim}-{HOW[harm.signal].replace(' ', '-')}"


def fail_once(case: Case, harm: Harm, pool: Pool, task: DigitTask, step_s: float) -> Failure:
    """A run in which one process is harmed half way; another stands in its place afterwards."""
    reports = pool.run(case, step_s, task.work.batches, harm)
    workers = [one for one in reports if one.role == "worker"]
    path = path_of(reports)
    return Failure(
        case=case,
        victim="server" if harm.rank >= case.workers else "worker",
        how=HOW[harm.signal],
        batches_before=harm.taken_before,
        batches_after=harm.taken_after - harm.taken_before,
        longest_pause_s=harm.longest_pause_s,
        finished=sum(one.ended == "finished" for one in workers),
        left=len(workers),
        accuracy=task.judge(torch.from_numpy(path[-1].weights))[1] if path else None,
    )


Told = Callable[[str, int, int], None]  # what is done now, how much is done, of how much
