"""Ray's parameter-server pattern beside ours: the same work, workers and straggler.

The pattern is that of Ray's documentation: a server actor and worker actors, whose driver gives
all gradients of a step to the server at once (synchronous), or each as it comes (asynchronous).
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from anomalyst.training.experiments.staleness.config import Case, StalenessBench, Work
from anomalyst.training.experiments.staleness.digits import Digits, DigitTask
from anomalyst.training.experiments.staleness.links import Clock

OBJECT_STORE_BYTES = 128 * 2**20  # a set of digits and some weights; Ray asks for 75 MiB at least


@dataclass(frozen=True, slots=True, kw_only=True)
class RayRun:
    """One run with Ray's actors."""

    case: Case  # of topology server, its bound 0 (synchronous) or None (asynchronous)
    loss: float  # of unseen pictures, at the end
    accuracy: float
    seconds: float  # from the first weights given out until the last gradient was applied
    samples_per_second: float
    steps: list[int]  # of each worker


def ray_name(case: Case) -> str:
    """A run's file."""
    return f"ray-{case.name}"


def ray_cases(bench: StalenessBench) -> list[Case]:
    """What the pattern can do of the grid: BSP and ASP at one server."""
    return [
        case
        for case in bench.cases()
        if case.topology == "server" and case.servers == 1 and case.bound in (0, None)
    ]


class RayWorker:
    """An actor: gradients of its own shard, each step as long as its pace says."""

    def __init__(self, digits: Digits, work: Work, rank: int, workers: int, step_s: float) -> None:
        torch.set_num_threads(1)
        self.task, self.rank, self.workers = DigitTask(digits, work), rank, workers
        self.clock, self.done = Clock(time.monotonic(), step_s), 0

    def ready(self) -> int:
        """Answer once the actor is there."""
        return self.rank

    def gradient(self, weights: np.ndarray) -> np.ndarray:
        """Weights (D,) -> the gradient (D,) of this worker's next batch."""
        begun = self.clock.now()
        held = torch.from_numpy(weights.copy())  # what Ray shares cannot be written to
        found = self.task.gradient(held, self.rank, self.workers, self.done)
        self.done += 1
        self.clock.rest(begun)
        return found.numpy()


class RayServer:
    """An actor: the weights."""

    def __init__(self, weights: np.ndarray, rate: float) -> None:
        self.weights, self.rate = weights.copy(), rate

    def apply(self, *gradients: np.ndarray) -> np.ndarray:
        """Step by some workers' gradients; the weights (D,) after it."""
        for gradient in gradients:
            self.weights -= self.rate * gradient
        return self.weights


def run_beside(case: Case, digits: Digits, task: DigitTask, step_s: float) -> RayRun:
    """One run on Ray's actors; Ray is started before it, and ended by who started it."""
    import ray

    work, shared, start = task.work, ray.put(digits), task.start().numpy()
    kinds = (ray.remote(num_cpus=0)(RayServer), ray.remote(num_cpus=0)(RayWorker))
    server = kinds[0].remote(start, work.learning_rate / case.workers)
    workers = [
        kinds[1].remote(shared, work, rank, case.workers, step_s * case.slowness(rank))
        for rank in range(case.workers)
    ]
    ray.get([one.ready.remote() for one in workers])
    run = _synchronous if case.bound == 0 else _asynchronous
    begun = time.monotonic()
    weights, steps = run(server, workers, ray.put(start), work.batches)
    end = torch.from_numpy(ray.get(weights).copy())
    seconds = time.monotonic() - begun
    for actor in (server, *workers):
        ray.kill(actor)
    loss, accuracy = task.judge(end)
    return RayRun(
        case=case, loss=loss, accuracy=accuracy, seconds=seconds,
        samples_per_second=work.batch * sum(steps) / seconds, steps=steps,
    )  # fmt: skip


@contextmanager
def ray_started() -> Iterator[None]:
    """Ray on this machine for as long as the context lasts, without dashboard and logs."""
    import ray

    ray.init(
        include_dashboard=False, log_to_driver=False, logging_level="ERROR",
        object_store_memory=OBJECT_STORE_BYTES, num_cpus=1,
    )  # fmt: skip
    try:
        yield
    finally:
        ray.shutdown()


def _synchronous(
    server: Any, workers: list[Any], weights: Any, batches: int
) -> tuple[Any, list[int]]:
    """All gradients of a step, then the server's: BSP."""
    rounds = batches // len(workers)
    for _ in range(rounds):
        weights = server.apply.remote(*(one.gradient.remote(weights) for one in workers))
    return weights, [rounds] * len(workers)


def _asynchronous(
    server: Any, workers: list[Any], weights: Any, batches: int
) -> tuple[Any, list[int]]:
    """Each gradient as it comes: ASP."""
    import ray

    steps = [0] * len(workers)
    going: dict[Any, int] = {}

    def send(rank: int, held: Any) -> None:
        if sum(steps) < batches:
            steps[rank] += 1
            going[workers[rank].gradient.remote(held)] = rank

    for rank in range(len(workers)):
        send(rank, weights)
    while going:
        (ready,), _ = ray.wait(list(going))
        weights = server.apply.remote(ready)
        send(going.pop(ready), weights)
    return weights, steps
