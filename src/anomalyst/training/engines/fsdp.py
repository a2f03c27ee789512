"""FSDP2: weights, gradients and optimizer state lie split over the processes, block by block."""

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from anomalyst.training.engine_names import EngineName
from anomalyst.training.engines.base import with_plain_strides
from anomalyst.training.engines.split import SplitEngine


class FSDPEngine(SplitEngine):
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
