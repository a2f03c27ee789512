"""A parameter server with the rule of bounded staleness: BSP, SSP and ASP are its bound.

Ho et al. 2013: a worker may read when it is no more than `bound` iterations ahead of the slowest.
With 0 everybody waits for everybody (BSP), without a bound nobody waits (ASP).
"""

import threading

import torch
from torch import Tensor

from anomalyst.training.experiments.staleness.links import LEFT, Clock, Link, Report, Snapshot


class ParameterServer:
    """Part of the weights; a thread for each worker applies what it sends and answers."""

    def __init__(
        self,
        weights: Tensor,
        rate: float,
        bound: int | None,
        links: dict[int, Link],
        report: Report,
    ) -> None:
        """`rate`: of one worker's gradient; `links`: worker -> its link."""
        self.weights, self.rate, self.bound, self.links = weights, rate, bound, links
        self.report = report
        self.clocks = dict.fromkeys(links, 0)  # iterations that each has done, while it is there
        self.read_at = dict.fromkeys(links, 0)  # updates applied when it last read
        self.changed = threading.Condition()

    def run(self, clock: Clock, every: int) -> Report:
        """Serve until all workers have left or are gone; a snapshot after `every` updates."""
        threads = [
            threading.Thread(target=self._serve, args=(worker, clock, every))
            for worker in self.links
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.report.seconds = clock.now()
        if self.report.steps % every:
            self._keep(clock)  # the end, which is no multiple
        self.report.bytes = sum(link.bytes for link in self.links.values())
        return self.report

    def _serve(self, worker: int, clock: Clock, every: int) -> None:
        link = self.links[worker]
        try:
            while (taken := link.take())[0] != LEFT:
                done, gradient, _ = taken
                assert gradient is not None
                weights, waited = self._update(worker, done, gradient, clock, every)
                link.put(done, weights, waited)
        except ConnectionError:
            self.report.lost.append(worker)
        with self.changed:  # nobody waits for it any longer
            del self.clocks[worker]
            self.changed.notify_all()

    def _update(
        self, worker: int, done: int, gradient: Tensor, clock: Clock, every: int
    ) -> tuple[Tensor, float]:
        """Apply a gradient; when the rule allows, the weights then and the seconds it took."""
        report = self.report
        with self.changed:
            self.weights.sub_(gradient, alpha=self.rate)
            report.delay[report.steps - self.read_at[worker]] += 1
            report.steps += 1
            if report.steps % every == 0:
                self._keep(clock)
            self.clocks[worker] = done
            self.changed.notify_all()
            begun = clock.now()
            self.changed.wait_for(lambda: self.bound is None or self._lag(worker) <= self.bound)
            report.lag[self._lag(worker)] += 1
            self.read_at[worker] = report.steps
            return self.weights.clone(), clock.now() - begun

    def _keep(self, clock: Clock) -> None:
        kept = self.weights.numpy().copy()
        self.report.snapshots.append(Snapshot(self.report.steps, clock.now(), kept))

    def _lag(self, worker: int) -> int:
        return self.clocks[worker] - min(self.clocks.values())


def parts_of(count: int, servers: int) -> list[slice]:
    """Which of the weights each server holds: nearly equal parts."""
    lengths = [len(part) for part in torch.empty(count).tensor_split(servers)]
    return [slice(sum(lengths[:k]), sum(lengths[: k + 1])) for k in range(servers)]
