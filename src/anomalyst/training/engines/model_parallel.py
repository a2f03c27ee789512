"""Tensor parallel: every layer is dealt to several processes, all of which see every sample.

Linear layers are split by columns, then by rows, so that a block needs two sums over the processes
in each direction (Shoeybi et al. 2019, Megatron-LM, section 3), through torch's DTensor.
"""

from collections.abc import Iterable

from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    RowwiseParallel,
    parallelize_module,
)

from anomalyst.training.chain import Chain
from anomalyst.training.distributed.ranks import RankContext
from anomalyst.training.engine_names import EngineName
from anomalyst.training.engines.base import EngineSetup
from anomalyst.training.engines.split import SplitEngine
from anomalyst.training.recipe import EngineConfig


class TensorEngine(SplitEngine):
    """Blocks dealt out; embeddings, norms and what else there is are whole in every process."""

    name: EngineName = "tensor"

    def __init__(self, context: RankContext, config: EngineConfig):
        super().__init__(context)
        self.tensor_size = config.tensor_processes(self.world)
        shape = (self.world // self.tensor_size, self.tensor_size)
        self.mesh = init_device_mesh(self.device.type, shape, mesh_dim_names=("stages", "tensor"))
        self.stage, self.column = self.mesh.get_coordinate() or (0, 0)

    def prepare(self, task: nn.Module, setup: EngineSetup) -> None:
        """Deal out the blocks, then make the optimizer over what this process holds."""
        assert setup.chain is not None, "a task that cannot be dealt out"
        self.chain: Chain = setup.chain
        super().prepare(task, setup)

    @property
    def holders(self) -> int:
        """How many processes hold what is whole."""
        return self.tensor_size

    def _wrap(self, task: nn.Module) -> nn.Module:
        if self.tensor_size > 1:
            styles: dict[str, type[ParallelStyle]] = {
                "columns": ColwiseParallel, "rows": RowwiseParallel,
            }  # fmt: skip
            for block in self._own_blocks():
                plan = {name: styles[cut]() for name, cut in self.chain.linear.items()}
                parallelize_module(block, self.mesh["tensor"], plan)
            split = [
                p for b in self._own_blocks() for p in b.parameters() if isinstance(p, DTensor)
            ]
            assert len(split) >= len(self.chain.linear), "nothing was dealt out"
        return task

    def _own_blocks(self) -> Iterable[nn.Module]:
        return self.chain.blocks.values()
