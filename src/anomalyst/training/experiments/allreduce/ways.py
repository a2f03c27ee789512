"""Six ways to all-reduce, each in terms of messages that are counted.

Every process has n numbers, b bytes, and all want their sum (product, minimum, maximum). Of p:

                 messages            sent by the busiest      sent by all
    naive        p (p - 1)           (p - 1) b                p (p - 1) b
    driver       2 (p - 1)           (p - 1) b                2 (p - 1) b
    tree         2 (p - 1)           ceil(log2 p) b           2 (p - 1) b
    ring         2 p (p - 1)         2 (p - 1) / p b          2 (p - 1) b
    round-robin  2 p (p - 1)         2 (p - 1) / p b          2 (p - 1) b
    butterfly    2 p log2 p          2 (p - 1) / p b          2 (p - 1) b      of p = 2^k

Ring: Patarasuk and Yuan 2009. Round-robin (pairwise exchange), tree (binomial) and butterfly
(recursive halving and doubling): Thakur, Rabenseifner and Gropp 2005.
"""

from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor

from anomalyst.training.distributed.wire import Wire
from anomalyst.training.experiments.allreduce.cost import MessageCost

Combine = Callable[[Tensor, Tensor], Tensor]
OPERATIONS: dict[str, Combine] = {
    "sum": torch.add, "product": torch.mul, "min": torch.minimum, "max": torch.maximum,
}  # fmt: skip


def naive(values: Tensor, wire: Wire, combine: Combine) -> Tensor:
    """Everybody sends everything to everybody: (n,) -> (n,)."""
    others = [r for r in range(wire.world) if r != wire.rank]
    parts = [values if r == wire.rank else torch.empty_like(values) for r in range(wire.world)]
    works = [wire.send(values, r) for r in others]
    works += [wire.receive(parts[r], r) for r in others]
    for work in works:
        work.wait()
    return reduce(combine, parts)  # in the order of ranks, so that all round alike


def driver(values: Tensor, wire: Wire, combine: Combine) -> Tensor:
    """The first process gathers, reduces and sends back: (n,) -> (n,)."""
    whole = values.clone()
    if wire.rank:
        wire.send(values, 0).wait()
        wire.receive(whole, 0).wait()
        return whole
    theirs = torch.empty_like(values)
    for other in range(1, wire.world):
        wire.receive(theirs, other).wait()
        whole = combine(whole, theirs)
    wire.turn = 1
    for work in [wire.send(whole, other) for other in range(1, wire.world)]:
        work.wait()
    return whole


def tree(values: Tensor, wire: Wire, combine: Combine) -> Tensor:
    """Up a binomial tree to the first process, and down again: (n,) -> (n,)."""
    whole, theirs = values.clone(), torch.empty_like(values)
    gaps = [1 << k for k in range((wire.world - 1).bit_length())]
    for wire.turn, gap in enumerate([*gaps, *reversed(gaps)]):
        up = wire.turn < len(gaps)
        is_child = wire.rank % (2 * gap) == gap
        is_parent = wire.rank % (2 * gap) == 0 and wire.rank + gap < wire.world
        if is_child and up:
            wire.send(whole, wire.rank - gap).wait()
        elif is_child:
            wire.receive(whole, wire.rank - gap).wait()
        elif is_parent and up:
            wire.receive(theirs, wire.rank + gap).wait()
            whole = combine(whole, theirs)
        elif is_parent:
            wire.send(whole, wire.rank + gap).wait()
    return whole


def ring(values: Tensor, wire: Wire, combine: Combine) -> Tensor:
    """Each reduces a share and passes it on, then whole shares go round: (n,) -> (n,)."""
    rank, world = wire.rank, wire.world
    shares, starts = _shares(values, world)
    after, before = (rank + 1) % world, (rank - 1) % world
    for turn in range(2 * (world - 1)):
        wire.turn = turn
        given, taken = (rank - turn) % world, (rank - turn - 1) % world
        arrived = torch.empty_like(shares[taken])
        wire.exchange(shares[given], after, arrived, before, starts[given])
        shares[taken] = combine(shares[taken], arrived) if turn < world - 1 else arrived
    return torch.cat(shares)


def round_robin(values: Tensor, wire: Wire, combine: Combine) -> Tensor:
    """In turn k each gives a share to the k-th after it, then the whole one: (n,) -> (n,)."""
    rank, world = wire.rank, wire.world
    shares, starts = _shares(values, world)
    for gap in range(1, world):
        wire.turn = gap - 1
        to, source = (rank + gap) % world, (rank - gap) % world
        arrived = torch.empty_like(shares[rank])
        wire.exchange(shares[to], to, arrived, source, starts[to])
        shares[rank] = combine(shares[rank], arrived)
    for gap in range(1, world):
        wire.turn = world + gap - 2
        to, source = (rank + gap) % world, (rank - gap) % world
        wire.exchange(shares[rank], to, shares[source], source, starts[rank])
    return torch.cat(shares)


def butterfly(values: Tensor, wire: Wire, combine: Combine) -> Tensor:
    """Halves are exchanged with ever nearer ranks, then back: (n,) -> (n,).

    Ranks beyond the largest power of two give their numbers to one below it first.
    """
    power = 1 << (wire.world.bit_length() - 1)
    whole = values.clone()
    wire.turn = 0
    if wire.rank >= power:
        wire.send(whole, wire.rank - power).wait()
        wire.receive(whole, wire.rank - power).wait()
        return whole
    has_guest = wire.rank + power < wire.world
    if has_guest:
        theirs = torch.empty_like(values)
        wire.receive(theirs, wire.rank + power).wait()
        whole = combine(whole, theirs)
    _halve_and_double(whole, wire, combine, power)
    wire.turn += 1
    if has_guest:
        wire.send(whole, wire.rank + power).wait()
    return whole


def _halve_and_double(whole: Tensor, wire: Wire, combine: Combine, power: int) -> None:
    """Recursive halving and doubling among `power` ranks, in place."""
    lengths = [len(share) for share in whole.tensor_split(power)]
    bounds = [sum(lengths[:k]) for k in range(power + 1)]
    low, high = 0, power  # the shares that this rank still reduces
    kept: list[tuple[int, slice, slice]] = []
    gap = power // 2
    while gap:
        wire.turn += 1
        middle = (low + high) // 2
        lower, upper = slice(bounds[low], bounds[middle]), slice(bounds[middle], bounds[high])
        mine, given = (upper, lower) if wire.rank & gap else (lower, upper)
        low, high = (middle, high) if wire.rank & gap else (low, middle)
        arrived = torch.empty_like(whole[mine])
        partner = wire.rank ^ gap
        wire.exchange(whole[given], partner, arrived, partner, int(given.start))
        whole[mine] = combine(whole[mine], arrived)
        kept.append((partner, mine, given))
        gap //= 2
    for partner, mine, given in reversed(kept):
        wire.turn += 1
        wire.exchange(whole[mine], partner, whole[given], partner, int(mine.start))


def _shares(values: Tensor, count: int) -> tuple[list[Tensor], list[int]]:
    """Copies of nearly equal parts, and where each begins."""
    shares = [s.clone() for s in values.tensor_split(count)]
    return shares, [sum(len(s) for s in shares[:k]) for k in range(count)]


Way = Callable[[Tensor, Wire, Combine], Tensor]
WAYS: dict[str, Way] = {
    "naive": naive, "driver": driver, "tree": tree, "ring": ring, "round-robin": round_robin,
    "butterfly": butterfly,
}  # fmt: skip


def theory(way: str, processes: int, numbers: int) -> MessageCost:
    """What the module's table says, for shares that divide evenly."""
    p, whole = processes, 4 * numbers
    match way:
        case "naive":
            return MessageCost(p * (p - 1), (p - 1) * whole, p * (p - 1) * whole)
        case "driver":
            return MessageCost(2 * (p - 1), (p - 1) * whole, 2 * (p - 1) * whole)
        case "tree":
            return MessageCost(2 * (p - 1), (p - 1).bit_length() * whole, 2 * (p - 1) * whole)
        case "ring" | "round-robin":
            return MessageCost(2 * p * (p - 1), 2 * (p - 1) * whole // p, 2 * (p - 1) * whole)
        case "butterfly":
            power = 1 << (p.bit_length() - 1)
            guests, turns = p - power, power.bit_length() - 1
            most = 2 * (power - 1) * whole // power + (whole if guests else 0)
            sent = 2 * (power - 1) * whole + 2 * guests * whole
            return MessageCost(2 * power * turns + 2 * guests, most, sent)
    raise AssertionError(way)
