"""The order in which a set that has an end is seen: the same in every process."""

import torch
from torch import Tensor


def order_of(epoch: int, count: int, seed: int) -> Tensor:
    """The numbers of a set's `count` members in an order of the epoch's own, (count,)."""
    numbers = torch.Generator().manual_seed(seed * (1 << 20) + epoch)
    return torch.randperm(count, generator=numbers)


def rows_of(step: int, batch: int, count: int, seed: int) -> Tensor:
    """Which members a step sees, (batch,): a step may end one epoch and begin the next."""
    places = torch.arange(step * batch, (step + 1) * batch)
    epochs = places // count
    rows = torch.empty_like(places)
    for epoch in epochs.unique().tolist():
        here = epochs == epoch
        rows[here] = order_of(epoch, count, seed)[places[here] % count]
    return rows
