"""One process of the bench: it does run after run, as worker or as server, and reports each."""

import math
import os
import statistics
import time
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection

import torch
from torch import Tensor
from torch._C._distributed_c10d import PrefixStore, Store, TCPStore

from anomalyst.training.distributed.wire import Wire, gloo_group
from anomalyst.training.experiments.allreduce.ways import ring
from anomalyst.training.experiments.staleness.config import Case
from anomalyst.training.experiments.staleness.digits import DigitTask
from anomalyst.training.experiments.staleness.gossip import (
    Mailbox,
    average,
    neighbours,
    partners,
)
from anomalyst.training.experiments.staleness.links import (
    LEFT,
    Clock,
    Link,
    Report,
    Snapshot,
    open_link,
)
from anomalyst.training.experiments.staleness.server import ParameterServer, parts_of

POINTS = 24  # of a curve, between start and end
MEASURED_STEPS = 12
SLACK = 2.0  # of the measured step: so much longer is a step made, so that no worker lacks a core
PATIENT = 3.0  # a worker waits for a server longer than the server for a silent worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One run, for all its processes."""

    number: int
    case: Case
    step_s: float  # of a worker that is no straggler


def serve_orders(pipe: Connection, rank: int, port: int) -> None:
    """The life of a process: hear the set and the work, then do orders; None: measure a step.

    A process of a run that others have left may still be held by gloo; so it ends at once.
    """
    torch.set_num_threads(1)
    digits, work = pipe.recv()
    store = TCPStore("127.0.0.1", port, is_master=False, timeout=timedelta(seconds=300))
    task = DigitTask(digits, work)
    try:
        while True:
            order = pipe.recv()
            pipe.send(measured_step(task) if order is None else do_order(order, rank, store, task))
    except EOFError:
        os._exit(0)


def measured_step(task: DigitTask) -> float:
    """Seconds of a gradient, the median of some."""
    weights, seconds = task.start(), []
    for clock in range(MEASURED_STEPS):
        begun = time.monotonic()
        task.gradient(weights, 0, 1, clock)
        seconds.append(time.monotonic() - begun)
    return statistics.median(seconds)


class Run:
    """What a process needs in one run."""

    def __init__(self, order: Order, rank: int, store: Store, task: DigitTask) -> None:
        self.case, self.rank, self.task = order.case, rank, task
        self.work = task.work
        self.store = PrefixStore(f"run-{order.number}", store)
        role = "worker" if rank < self.case.workers else "server"
        self.report = Report(rank=rank, role=role)
        self.step_s = order.step_s * self.case.slowness(rank)
        self.every = max(1, self.work.batches // POINTS)  # batches of all between two snapshots

    def links_to(self, others: list[int], patience: float = 1.0) -> dict[int, Link]:
        """Links, in an order in which no two processes wait for each other."""
        seconds = patience * self.work.patience_s
        ordered = sorted(others, key=lambda other: sorted((other, self.rank)))
        return {other: open_link(self.store, self.rank, other, seconds) for other in ordered}

    def start(self) -> Clock:
        """When all processes of the run are here, the clock is at 0 in each."""
        if self.store.add("here", 1) == self.case.processes:
            self.store.set("began", repr(time.monotonic()))
        return Clock(float(self.store.get("began")), self.step_s)

    def ticket(self) -> bool:
        """Whether there is a batch left to do for this worker."""
        return self.store.add("taken", 1) <= self.work.batches

    def gradient(self, weights: Tensor, clock: Clock, done: int) -> Tensor:
        """One step of a worker, as long as its pace says."""
        begun = clock.now()
        found = self.task.gradient(weights, self.rank, self.case.workers, done)
        clock.rest(begun)
        self.report.steps += 1
        return found

    def keep(self, weights: Tensor, clock: Clock) -> None:
        """A snapshot of a worker's own weights, now and then."""
        steps = self.report.steps
        if steps % max(1, self.every // self.case.workers) == 0:
            kept = Snapshot(steps, clock.now(), weights.numpy().copy())
            self.report.snapshots.append(kept)


def do_order(order: Order, rank: int, store: Store, task: DigitTask) -> Report:
    """Take part in a run, as worker or as server."""
    run = Run(order, rank, store, task)
    if run.report.role == "server":
        return _serve(run)
    doing = {"server": _work_at_server, "ring": _gossip, "random": _gossip}
    try:
        return doing.get(order.case.topology, _work_in_rounds)(run)
    except (ConnectionError, RuntimeError) as error:
        run.report.ended = f"stopped: {str(error).splitlines()[0][-80:]}"
        return run.report


def _serve(run: Run) -> Report:
    case, work = run.case, run.work
    links = run.links_to(list(range(case.workers)))
    weights = run.task.start()
    own = parts_of(len(weights), case.servers)[run.rank - case.workers]
    rate = work.learning_rate / case.workers
    server = ParameterServer(weights[own].clone(), rate, case.bound, links, run.report)
    return server.run(run.start(), run.every)


def _work_at_server(run: Run) -> Report:
    """Compute on what was read, send a part to each server, read when they allow."""
    case, report, weights = run.case, run.report, run.task.start()
    ranks = list(range(case.workers, case.processes))
    links = list(run.links_to(ranks, PATIENT).values())
    parts = list(zip(parts_of(len(weights), case.servers), links, strict=True))
    clock = run.start()
    try:
        while run.ticket():
            gradient = run.gradient(weights, clock, report.steps)
            begun, held = clock.now(), 0.0
            for part, link in parts:
                link.put(report.steps, gradient[part].contiguous())
            for part, link in parts:
                _, body, waited = link.take()
                assert body is not None
                weights[part] = body
                held = max(held, waited)
            report.idle_s += held
            report.exchange_s += clock.now() - begun - held
        for link in links:
            link.put(LEFT)
    finally:
        report.seconds = clock.now()
        report.bytes = sum(link.bytes for link in links)
    return report


def _gossip(run: Run) -> Report:
    """Step by oneself, send the weights to neighbours, average with theirs when allowed."""
    case, report, weights = run.case, run.report, run.task.start()
    links = run.links_to(neighbours(case.topology, run.rank, case.workers))
    clock = run.start()
    box = Mailbox(links, report, run.work.patience_s)
    while run.ticket():
        gradient = run.gradient(weights, clock, report.steps)
        weights = weights - run.work.learning_rate * gradient
        begun = clock.now()
        to = partners(case.topology, run.rank, case.workers, report.steps)
        box.tell(report.steps, weights, to)
        sent = clock.now()
        report.lag[box.wait(report.steps, case.bound)] += 1
        report.idle_s += clock.now() - sent
        report.exchange_s += sent - begun
        newest = math.inf if case.bound is None else report.steps + case.bound
        weights = average(weights, box.fresh(newest))
        run.keep(weights, clock)
    report.seconds = clock.now()
    report.snapshots.append(Snapshot(report.steps, report.seconds, weights.numpy().copy()))
    box.leave()
    report.bytes = sum(link.bytes for link in links.values())
    return report


def _work_in_rounds(run: Run) -> Report:
    """Steps by oneself, then the mean of all: local SGD (Stich 2019), or DiLoCo's outer step."""
    case, work, report = run.case, run.work, run.report
    group = gloo_group(run.store, "all", run.rank, case.workers, work.patience_s)
    wire, weights = Wire(group), run.task.start()
    shared, speed = weights.clone(), torch.zeros_like(weights)
    clock = run.start()
    try:
        for _ in range(work.batches // (case.workers * case.every)):
            for _ in range(case.every):
                run.ticket()  # counted as elsewhere; all have the same number
                gradient = run.gradient(weights, clock, report.steps)
                weights = weights - work.learning_rate * gradient
            begun = clock.now()
            mean = ring(weights, wire, torch.add) / case.workers
            report.rounds_s.append(clock.now() - begun)
            if case.topology == "diloco":
                outer = shared - mean  # as if it were a gradient
                speed = work.outer_momentum * speed + outer
                mean = shared - work.outer_rate * (outer + work.outer_momentum * speed)
            shared, weights = mean.clone(), mean
            run.keep(weights, clock)
    finally:
        report.seconds, report.bytes = clock.now(), 2 * wire.bytes  # a ring takes what it gives
        report.snapshots.append(Snapshot(report.steps, report.seconds, shared.numpy().copy()))
    return report
