"""Tensors of which processes hold shards: whole -> shard, shard -> whole."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor


def local(value: Tensor) -> Tensor:
    """What this process holds of a tensor."""
    return value.to_local() if isinstance(value, DTensor) else value


def gathered(value: Tensor, like: Tensor) -> Tensor:
    """A process's part, spread as `like` is -> whole; every process that shares it calls."""
    if not isinstance(like, DTensor):
        return value
    spread = DTensor.from_local(
        value, like.device_mesh, like.placements, shape=like.shape, stride=like.stride()
    )
    whole: Tensor = spread.full_tensor()
    return whole


def dealt(whole: Tensor, like: Tensor) -> Tensor:
    """A whole tensor -> this process's part, spread as `like` is; all that share it call."""
    if isinstance(like, DTensor):
        whole = distribute_tensor(whole, like.device_mesh, like.placements).to_local()
    return whole.clone()


def held_bytes(parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer) -> int:
    """What a process keeps of what it trains: weights, their gradients, the optimizer's state."""
    states: list[Mapping[str, object]] = [optimizer.state.get(p, {}) for p in parameters]
    kept = [local(v) for one in states for v in one.values() if isinstance(v, Tensor)]
    kept += [local(p) for p in parameters for _ in ("weight", "gradient")]
    return sum(value.numel() * value.element_size() for value in kept)


def sum_gradients(parameters: list[nn.Parameter], group: Any) -> None:
    """Add up the processes' gradients in one message; a missing one counts as zeros."""
    flat = torch.cat(
        [torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in parameters]
    )
    dist.all_reduce(flat, group=group)
    parts = flat.split([p.numel() for p in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.grad = part.view_as(parameter)
