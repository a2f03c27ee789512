"""Workers without a server: each averages its weights with neighbours', under the same rule.

Decentralised parallel SGD (Lian et al. 2017) on a ring or with random partners (Boyd et al. 2006);
how far a worker may run ahead of its neighbours is bounded as in Hop (Luo et al. 2019).
"""

import threading
from collections.abc import Sequence
from contextlib import suppress

import torch
from torch import Tensor

from anomalyst.training.experiments.staleness.config import Topology
from anomalyst.training.experiments.staleness.links import LEFT, Link, Report


def neighbours(topology: Topology, rank: int, world: int) -> list[int]:
    """Whom a worker hears: the two beside it, or all."""
    if topology == "ring":
        return sorted({(rank - 1) % world, (rank + 1) % world} - {rank})
    return [other for other in range(world) if other != rank]


def partners(topology: Topology, rank: int, world: int, clock: int) -> list[int]:
    """Whom it sends its weights in an iteration: the same pairs are drawn in every process."""
    if topology == "ring":
        return neighbours(topology, rank, world)
    order = torch.randperm(world, generator=torch.Generator().manual_seed(clock)).tolist()
    place = order.index(rank) ^ 1  # pairs of the order; with an odd number one is alone
    return [order[place]] if place < world else []


class Mailbox:
    """What neighbours have sent, taken by a thread for each as it comes."""

    def __init__(self, links: dict[int, Link], report: Report, patience_s: float) -> None:
        self.links, self.report, self.patience_s = links, report, patience_s
        self.clocks = dict.fromkeys(links, 0)  # of those that are there
        self.bodies: dict[int, list[tuple[int, Tensor]]] = {peer: [] for peer in links}
        self.changed = threading.Condition()
        self.threads = [threading.Thread(target=self._listen, args=(peer,)) for peer in links]
        for thread in self.threads:
            thread.start()

    def tell(self, clock: int, weights: Tensor | None, to: Sequence[int]) -> None:
        """The clock to all that are there, and the weights to some."""
        for peer in list(self.clocks):
            try:
                self.links[peer].put(clock, weights if peer in to else None)
            except ConnectionError:
                self._gone(peer, lost=True)

    def wait(self, clock: int, bound: int | None) -> int:
        """Until no neighbour is further behind than the bound; how far the last one is.

        Says now and then that it is still there, for who waits is not gone.
        """
        while True:
            with self.changed:
                allowed = self.changed.wait_for(
                    lambda: bound is None or self._lag(clock) <= bound, self.patience_s / 4
                )
                if allowed:
                    return max(0, self._lag(clock))
            self.tell(clock, None, ())

    def fresh(self, newest: float) -> list[Tensor]:
        """Of each neighbour the last weights up to a clock, unless they were taken before."""
        found = []
        with self.changed:
            for peer, held in self.bodies.items():
                ready = [body for clock, body in held if clock <= newest]
                found += ready[-1:]
                self.bodies[peer] = [one for one in held if one[0] > newest]
        return found

    def leave(self) -> None:
        """Say so to all, and hear them until they have left, too."""
        for peer in set(self.links) - set(self.report.lost):
            with suppress(ConnectionError):  # who is gone by now needs no word
                self.links[peer].put(LEFT)
        for thread in self.threads:
            thread.join()

    def _lag(self, clock: int) -> int:
        return clock - min(self.clocks.values(), default=clock)

    def _listen(self, peer: int) -> None:
        try:
            while (taken := self.links[peer].take())[0] != LEFT:
                clock, body, _ = taken
                with self.changed:
                    self.clocks[peer] = clock
                    if body is not None:
                        self.bodies[peer].append((clock, body))
                    self.changed.notify_all()
            self._gone(peer, lost=False)
        except ConnectionError:
            self._gone(peer, lost=True)

    def _gone(self, peer: int, *, lost: bool) -> None:
        with self.changed:
            if self.clocks.pop(peer, None) is not None and lost:
                self.report.lost.append(peer)
            self.changed.notify_all()


def average(own: Tensor, theirs: Sequence[Tensor]) -> Tensor:
    """The mean of one's own weights (D,) and the neighbours'."""
    return torch.stack([own, *theirs]).mean(0)
