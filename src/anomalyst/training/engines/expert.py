"""Expert parallel: the batch is shared, and so are the experts; tokens travel to them and back."""

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from anomalyst.layers.experts import Experts
from anomalyst.training.engine_names import EngineName
from anomalyst.training.engines.sharding import sum_gradients
from anomalyst.training.engines.split import SplitEngine


class ExpertEngine(SplitEngine):
    """All but the experts is whole in every process (Lepikhin et al. 2020, GShard, section 3)."""

    name: EngineName = "expert"

    def _wrap(self, task: nn.Module) -> nn.Module:
        mesh = init_device_mesh(self.device.type, (self.world,))
        mixtures = [module for module in task.modules() if isinstance(module, Experts)]
        for mixture in mixtures:
            mixture.group = mesh.get_group()
            for name in ("gate", "up", "down"):
                whole = getattr(mixture, name)
                dealt = nn.Parameter(distribute_tensor(whole.data, mesh, [Shard(0)]))
                setattr(mixture, name, dealt)
        split = [p for p in task.parameters() if isinstance(p, DTensor)]
        assert len(split) == 3 * len(mixtures) > 0, "no experts were dealt out"
        return task

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """An expert's gradient is of all processes' tokens already; the rest is averaged here."""
        super().backward(loss, last=last)
        if not last:
            return
        whole = [p for p in self.trained if not isinstance(p, DTensor)]
        sum_gradients(whole, dist.group.WORLD)
        for parameter in self.trained:
            if parameter.grad is not None:
                parameter.grad /= self.world
