"""FSDP2: weights, gradients and optimizer state lie split over the processes, block by block."""

import math
from collections.abc import Iterable, Mapping

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from anomalyst.training.engines.base import GroupEngine, with_plain_strides
from anomalyst.training.engines.base import trained_state as spread_state
from anomalyst.training.engines.sharding import dealt, gathered, local
from anomalyst.training.recipe import EngineName


class FSDPEngine(GroupEngine):
    """Every block is whole only while it is computed (Zhao et al. 2023; `fully_shard`)."""

    name: EngineName = "fsdp"

    def _wrap(self, task: nn.Module) -> nn.Module:
        mesh = init_device_mesh(self.device.type, (self.world,))
        # A single number cannot be split: every process keeps it, and its gradient is averaged.
        self.single = {p for p in task.parameters() if p.ndim == 0}
        with_plain_strides(task)
        for block in self.setup.blocks.values():
            fully_shard(block, mesh=mesh, ignored_params=self.single & set(block.parameters()))
        fully_shard(task, mesh=mesh, ignored_params=self.single)
        assert isinstance(task, FSDPModule)
        split = [p for p in task.parameters() if p not in self.single]
        assert all(isinstance(p, DTensor) for p in split), "not all is split"
        return task

    def _synchronise(self, last: bool) -> None:
        self.wrapped.set_requires_gradient_sync(last)

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Blocks average their gradients by themselves, single numbers at the end."""
        super().backward(loss, last=last)
        if last:
            for parameter in self.trained:
                if parameter in self.single and parameter.grad is not None:
                    dist.all_reduce(parameter.grad)
                    parameter.grad /= self.world

    def state(self) -> dict[str, Tensor]:
        """This process's shards, as plain tensors."""
        return {name: local(value) for name, value in spread_state(self.task).items()}

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Gather the shards; every process calls."""
        held = spread_state(self.task)
        return {
            name: gathered(value, held[name]).detach().to("cpu") for name, value in tensors.items()
        }

    def share(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Whole tensors -> this process's shards."""
        held = spread_state(self.task)
        return {name: dealt(value.to(self.device), held[name]) for name, value in tensors.items()}

    def squared_norms(self, groups: Mapping[str, list[str]]) -> dict[str, float]:
        """Shards first, then one sum over the processes."""
        by_name = dict(self.task.named_parameters())
        sums = [self._squared(by_name[m].grad for m in members) for members in groups.values()]
        whole = self.reduce(torch.tensor(sums, dtype=torch.float64), "sum")
        return dict(zip(groups, whole.tolist(), strict=True))

    def _trained_groups(self) -> list[dict[str, list[nn.Parameter]]]:
        """Split parameters and single numbers apart: no optimizer steps both at once."""
        split = [p for p in self.trained if p not in self.single]
        single = [p for p in self.trained if p in self.single]
        return [{"params": group} for group in (split, single) if group]

    def _norm(self) -> float:
        squared = self._squared(self._gradients())
        return math.sqrt(float(self.reduce(torch.tensor(squared, dtype=torch.float64), "sum")))

    def _squared(self, gradients: Iterable[Tensor | None]) -> float:
        """This process's part of a squared norm."""
        total = 0.0
        for gradient in gradients:
            if isinstance(gradient, DTensor):
                total += float(gradient.to_local().double().pow(2).sum())
            elif gradient is not None:
                total += float(gradient.double().pow(2).sum()) / self.world
        return total

    def _multiply(self, factor: float) -> None:
        for gradient in self._gradients():
            gradient.mul_(factor)
