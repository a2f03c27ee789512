"""DistributedDataParallel: every process holds the whole model, gradients are averaged."""

import warnings

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from anomalyst.training.engines.base import GroupEngine


class DDPEngine(GroupEngine):
    """Gradients of buckets travel while the rest is computed (Li et al. 2020)."""

    name = "ddp"

    def _wrap(self, task: nn.Module) -> nn.Module:
        devices = [self.device.index] if self.device.type == "cuda" else None
        with warnings.catch_warnings():
            # Statistics (BatchNorm) stay each process's own; checkpoints hold their mean. torch
            # 2.11 knows this name only.
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
            wrapped = DistributedDataParallel(
                task,
                device_ids=devices,
                broadcast_buffers=False,
                find_unused_parameters=self.setup.leaves_out,
            )
        assert type(wrapped) is DistributedDataParallel
        return wrapped

    def _synchronise(self, last: bool) -> None:
        self.wrapped.require_backward_grad_sync = last
