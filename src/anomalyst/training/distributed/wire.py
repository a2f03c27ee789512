"""Point-to-point messages between processes, counted, and drawn from what was counted."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import PrefixStore, Store

from anomalyst.errors import AnomalystError

if TYPE_CHECKING:
    from torch.distributed import Work


class Group(Protocol):
    """What is used of a process group; gloo's own has it, though torch's stubs do not say so."""

    def rank(self) -> int:
        """Of this process among the members."""

    def size(self) -> int:
        """How many members there are."""

    def send(self, tensors: list[Tensor], to: int, tag: int, /) -> "Work":
        """Begin to send one tensor."""

    def recv(self, tensors: list[Tensor], source: int, tag: int, /) -> "Work":
        """Begin to receive into one tensor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One message, as it was when it left."""

    turn: int  # of the algorithm; messages of one turn are on their way together
    source: int
    to: int
    first: int  # place of its first number in the whole
    values: tuple[float, ...]


class Wire:
    """The messages that one process of a group sends."""

    def __init__(self, group: Group, *, traced: bool = False) -> None:
        self.group, self.rank, self.world = group, group.rank(), group.size()
        self.messages = self.bytes = 0
        self.turn = 0  # set by the algorithm; kept with what is traced
        self.trace: list[Sent] | None = [] if traced else None

    def send(self, values: Tensor, to: int, first: int = 0) -> "Work":
        """Begin to send; wait for it on the result. `first`: the place of `values` in the whole."""
        self.messages += 1
        self.bytes += values.element_size() * values.numel()
        if self.trace is not None:
            numbers = tuple(values.tolist())
            one = Sent(turn=self.turn, source=self.rank, to=to, first=first, values=numbers)
            self.trace.append(one)
        return self.group.send([values], to, 0)

    def receive(self, values: Tensor, source: int) -> "Work":
        """Begin to receive into a tensor."""
        return self.group.recv([values], source, 0)

    def exchange(self, given: Tensor, to: int, taken: Tensor, source: int, first: int = 0) -> None:
        """Send one and receive another at the same time; `first`: the place of `given`."""
        work = self.send(given, to, first)
        self.receive(taken, source).wait()
        work.wait()


def gloo_group(store: Store, name: str, rank: int, world: int, patience_s: float) -> Group:
    """A gloo group that stands by itself: another's dead member does not disturb it.

    All members meet in `store` under `name`; what takes longer than `patience_s` raises
    RuntimeError. Raises AnomalystError where a member counts another number of them.
    """
    kept = PrefixStore(name, store)
    said = kept.compare_set("world", "", str(world)).decode()
    if said != str(world):
        raise AnomalystError(
            f"Process {rank} of {name} was started for {world} processes, another for {said}; "
            "start all of them with the same number."
        )
    group: Any = dist.ProcessGroupGloo(kept, rank, world, timedelta(seconds=patience_s))
    found: Group = group
    return found
