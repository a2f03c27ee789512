"""What processes of a run say to each other: two of them a link, each with a gloo group of its own.

A group of its own, so that a dead process disturbs nobody but those that talk to it.
"""

import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch._C._distributed_c10d import Store

from anomalyst.training.distributed.wire import Group, Wire, gloo_group

LEFT = -1  # a clock that says: no more will come
HEADER = 3  # clock, numbers that follow, microseconds


class Link:
    """Messages to and from one other process: a clock, and perhaps numbers."""

    def __init__(self, group: Group) -> None:
        self.wire, self.peer = Wire(group), 1 - group.rank()
        self.taken_bytes = 0

    @property
    def bytes(self) -> int:
        """Sent and received."""
        return self.wire.bytes + self.taken_bytes

    def put(self, clock: int, body: Tensor | None = None, seconds: float = 0.0) -> None:
        """Send, and wait until it is sent. Raises ConnectionError where the other is gone."""
        count = 0 if body is None else body.numel()
        header = torch.tensor([clock, count, round(1e6 * seconds)])
        try:
            works = [self.wire.send(header, self.peer)]
            works += [self.wire.send(body, self.peer)] if body is not None else []
            for work in works:
                work.wait()
        except RuntimeError as error:
            raise ConnectionError(str(error)) from error

    def take(self) -> tuple[int, Tensor | None, float]:
        """Wait for clock, numbers (n,) or None, seconds. Raises ConnectionError as `put`.

        Who is silent for longer than the group's patience is gone, too.
        """
        header = torch.zeros(HEADER, dtype=torch.int64)
        try:
            self.wire.receive(header, self.peer).wait()
            clock, count, microseconds = header.tolist()
            body = torch.empty(count) if count else None
            if body is not None:
                self.wire.receive(body, self.peer).wait()
        except RuntimeError as error:
            raise ConnectionError(str(error)) from error
        self.taken_bytes += 8 * HEADER + 4 * count
        return clock, body, microseconds / 1e6


def open_link(store: Store, own: int, other: int, patience_s: float) -> Link:
    """The link of two processes, by their ranks; both call this."""
    low, high = sorted((own, other))
    return Link(gloo_group(store, f"link-{low}-{high}", int(own == high), 2, patience_s))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Weights on the way."""

    done: int  # batches: of all at a server, of the worker itself elsewhere
    second: float  # since the start
    weights: np.ndarray  # (n,), a server's part or a worker's all


@dataclass(slots=True, kw_only=True)
class Report:
    """What one process of a run has to say at its end."""

    rank: int
    role: str  # worker, server
    steps: int = 0  # batches computed, or updates applied
    seconds: float = 0.0
    idle_s: float = 0.0  # held back by the rule
    exchange_s: float = 0.0  # sending and receiving
    rounds_s: list[float] = field(default_factory=list)  # in each common average, with waiting
    bytes: int = 0  # sent and received
    lag: Counter[int] = field(default_factory=Counter)  # iterations ahead of the slowest, allowed
    delay: Counter[int] = field(default_factory=Counter)  # others' updates since weights were read
    lost: list[int] = field(default_factory=list)  # ranks that went away without a word
    ended: str = "finished"
    snapshots: list[Snapshot] = field(default_factory=list)


class Clock:
    """Seconds since all began, and the pace of a worker."""

    def __init__(self, began: float, step_s: float) -> None:
        self.began, self.step_s = began, step_s

    def now(self) -> float:
        """Since the start of the run."""
        return time.monotonic() - self.began

    def rest(self, begun: float) -> None:
        """Sleep until a step that began then has lasted as long as a step of this worker does."""
        time.sleep(max(0.0, begun + self.step_s - self.now()))
