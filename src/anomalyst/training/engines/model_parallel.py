"""Tensor parallel: every layer is dealt to several processes, all of which see every sample.

Linear layers are split by columns, then by rows, so that a block needs two sums over the processes
in each direction (Shoeybi et al. 2019, Megatron-LM, section 3), through torch's DTensor.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
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
from anomalyst.training.engines.base import EngineSetup, GroupEngine, trained_state
from anomalyst.training.engines.sharding import dealt, gathered, local
from anomalyst.training.recipe import EngineConfig, EngineName


class TensorEngine(GroupEngine):
    """Blocks dealt out; embeddings, norms and what else there is are whole in every process."""

    name: EngineName = "tensor"

    def __init__(self, context: RankContext, config: EngineConfig):
        super().__init__(context)
        self.copies, self.copy = 1, 0
        self.tensor_size = config.tensor_processes(self.world)
        shape = (self.world // self.tensor_size, self.tensor_size)
        self.mesh = init_device_mesh(self.device.type, shape, mesh_dim_names=("stages", "tensor"))
        self.stage, self.column = self.mesh.get_coordinate() or (0, 0)
        self.counted_elsewhere: set[nn.Parameter] = set()  # held by a second process, too

    def prepare(self, task: nn.Module, setup: EngineSetup) -> None:
        """Deal out the blocks, then make the optimizer over what this process holds."""
        assert setup.chain is not None, "a task that cannot be dealt out"
        self.chain: Chain = setup.chain
        super().prepare(task, setup)
        self.trained = [p for p in self._held(task).values() if p.requires_grad]

    def state(self) -> dict[str, Tensor]:
        """What this process holds, as plain tensors."""
        return {name: local(value) for name, value in self._held_state().items()}

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Gather the parts; every process calls."""
        held = self._held_state()
        return {
            name: gathered(value, held[name]).detach().to("cpu") for name, value in tensors.items()
        }

    def share(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Whole tensors -> this process's parts of those it holds."""
        held = self._held_state()
        return {
            name: dealt(value.to(self.device), held[name])
            for name, value in tensors.items()
            if name in held
        }

    def squared_norms(self, groups: Mapping[str, list[str]]) -> dict[str, float]:
        """Parts first, then one sum over the processes."""
        held = self._held(self.task)
        sums = [self._squared(held[m] for m in members if m in held) for members in groups.values()]
        whole = self.reduce(torch.tensor(sums, dtype=torch.float64), "sum")
        return dict(zip(groups, whole.tolist(), strict=True))

    def held_parameters(self) -> dict[str, nn.Parameter]:
        """By name, those whose optimizer's state is this process's to keep."""
        return self._held(self.task)

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

    def _held(self, task: nn.Module) -> dict[str, nn.Parameter]:
        """Parameters that this process has, by name; one with two names under the first."""
        return dict(task.named_parameters())

    def _held_state(self) -> dict[str, Tensor]:
        return trained_state(self.task)

    def _trained_groups(self) -> list[dict[str, list[nn.Parameter]]]:
        """Dealt out parameters and whole ones apart: no optimizer steps both at once."""
        trained = [p for p in self._held(self.task).values() if p.requires_grad]
        split: list[nn.Parameter] = [p for p in trained if isinstance(p, DTensor)]
        whole = [p for p in trained if not isinstance(p, DTensor)]
        return [{"params": group} for group in (split, whole) if group]

    def _norm(self) -> float:
        squared = self._squared(self.trained)
        return math.sqrt(float(self.reduce(torch.tensor(squared, dtype=torch.float64), "sum")))

    def _squared(self, parameters: Iterable[nn.Parameter]) -> float:
        """This process's part of the squared norm of gradients."""
        total = 0.0
        for parameter in parameters:
            gradient: Any = parameter.grad
            if gradient is None or parameter in self.counted_elsewhere:
                continue
            square = float(local(gradient).double().pow(2).sum())
            alone = isinstance(gradient, DTensor) and gradient.placements[0].is_shard()
            total += square if alone else square / self.tensor_size
        return total

    def _multiply(self, factor: float) -> None:
        for gradient in self._gradients():
            gradient.mul_(factor)
