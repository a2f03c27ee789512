"""What a run came to: its curve, who waited, how stale what was read, and what was sent."""

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from anomalyst.training.experiments.staleness.config import Case, Work
from anomalyst.training.experiments.staleness.digits import CURVE, DigitTask
from anomalyst.training.experiments.staleness.links import Report, Snapshot
from anomalyst.training.experiments.staleness.process import POINTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One run."""

    case: Case
    curve: list[tuple[int, float, float]]  # batches done by all, seconds, loss of unseen pictures
    loss: float  # of the model at the end: the server's, or the mean of the workers'
    accuracy: float  # of the same, share of unseen pictures
    worst_accuracy: float  # of the worker whose own weights are worst; at a server the same
    disagreement: float  # of the workers' weights: their distance from the mean, over its norm
    seconds: float  # from the start until the last worker ended
    samples_per_second: float
    idle_share: float  # of the workers' time: held back by others
    fast_idle_share: float  # the same without the straggler
    exchange_share: float  # of the workers' time: sending and receiving
    steps: list[int]  # of each worker
    lag: dict[int, int]  # iterations ahead of the slowest when going on -> how often
    delay: dict[int, int]  # others' updates between reading and writing -> how often; at a server
    server_mb: float  # sent and received by the busiest server; 0 without one
    worker_mb: float  # sent and received by the busiest worker


def result_of(case: Case, work: Work, reports: Sequence[Report], task: DigitTask) -> Result:
    """Put together what the processes of a run report."""
    workers = [one for one in reports if one.role == "worker"]
    servers = [one for one in reports if one.role == "server"]
    path = path_of(reports)
    end = path[-1].weights if path else task.start().numpy()
    own = [] if servers else [one.snapshots[-1].weights for one in workers if one.snapshots]
    loss, accuracy = task.judge(torch.from_numpy(end))
    seconds = max(one.seconds for one in workers)
    steps = sum(one.steps for one in workers)
    idle = [_idle(one, workers) / max(one.seconds, 1e-9) for one in workers]
    fast = idle[:-1] if case.straggler > 1 else idle
    return Result(
        case=case,
        curve=[_point(one, task) for one in [_start(task), *path]],
        loss=loss,
        accuracy=accuracy,
        worst_accuracy=min([task.judge(torch.from_numpy(w))[1] for w in own], default=accuracy),
        disagreement=_disagreement(own),
        seconds=seconds,
        samples_per_second=work.batch * steps / seconds,
        idle_share=statistics.mean(idle),
        fast_idle_share=statistics.mean(fast),
        exchange_share=statistics.mean(_exchange(w, workers) / w.seconds for w in workers),
        steps=[one.steps for one in workers],
        lag=_counted(one.lag for one in reports),
        delay=_counted(one.delay for one in servers[:1]),
        server_mb=max((one.bytes / 1e6 for one in servers), default=0.0),
        worker_mb=max(one.bytes / 1e6 for one in workers),
    )


def path_of(reports: Sequence[Report]) -> list[Snapshot]:
    """The model's weights on the way: the servers', or the mean of the workers'."""
    servers = [one for one in reports if one.role == "server"]
    if servers:
        return _path_of_servers(servers)
    return _path_of_workers([one for one in reports if one.role == "worker"])


def _path_of_servers(servers: Sequence[Report]) -> list[Snapshot]:
    """Whole weights, from the parts that the servers kept at the same number of updates."""
    return [
        Snapshot(
            max(one.done for one in parts),
            max(one.second for one in parts),
            np.concatenate([one.weights for one in parts]),
        )
        for parts in zip(*(one.snapshots for one in servers), strict=False)
    ]


def _path_of_workers(workers: Sequence[Report]) -> list[Snapshot]:
    """The mean of what the workers had at the same moment, at POINTS moments."""
    held = [one.snapshots for one in workers if one.snapshots]
    if not held:
        return []  # a killed server's workers keep nothing
    end = max(path[-1].second for path in held)
    found = []
    for moment in np.linspace(0, end, POINTS + 1)[1:]:
        now = [[one for one in path if one.second <= moment + 1e-9] for path in held]
        if all(now):
            done = sum(path[-1].done for path in now)
            mean = np.mean([path[-1].weights for path in now], axis=0)
            found.append(Snapshot(done, float(moment), mean))
    return found


def _start(task: DigitTask) -> Snapshot:
    return Snapshot(0, 0.0, task.start().numpy())


def _point(one: Snapshot, task: DigitTask) -> tuple[int, float, float]:
    loss, _ = task.judge(torch.from_numpy(one.weights), CURVE)
    return one.done, round(one.second, 4), round(loss, 5)


def _idle(one: Report, workers: Sequence[Report]) -> float:
    """Seconds held back; of a common average, what it took beyond the last to come."""
    return one.idle_s + sum(one.rounds_s) - _moving(workers)


def _exchange(one: Report, workers: Sequence[Report]) -> float:
    return one.exchange_s + _moving(workers)


def _moving(workers: Sequence[Report]) -> float:
    """Seconds of all common averages without waiting: those of the last to come to each."""
    return sum(min(turn) for turn in zip(*(one.rounds_s for one in workers), strict=False))


def _disagreement(weights: Sequence[np.ndarray]) -> float:
    if len(weights) < 2:
        return 0.0
    mean = np.mean(weights, axis=0)
    apart = [float(np.linalg.norm(one - mean)) for one in weights]
    return statistics.mean(apart) / float(np.linalg.norm(mean))


def _counted(counters: Iterable[Counter[int]]) -> dict[int, int]:
    total: Counter[int] = Counter()
    for one in counters:
        total.update(one)
    return dict(sorted(total.items()))
