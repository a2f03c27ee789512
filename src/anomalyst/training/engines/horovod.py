"""Horovod: gradients averaged by its own ring (Sergeev and Del Balso 2018)."""

import importlib.util
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from anomalyst.errors import AnomalystError
from anomalyst.training.distributed.ranks import RankContext
from anomalyst.training.engines.base import Engine, EngineSetup, with_plain_strides


class HorovodEngine(Engine):
    """Processes started by horovodrun."""

    name = "horovod"

    def __init__(self, context: RankContext):
        import horovod.torch as hvd

        hvd.init()
        self.hvd = hvd
        super().__init__(
            RankContext(rank=hvd.rank(), world=hvd.size(), local_rank=hvd.local_rank())
        )
        assert self.world == context.world, (
            f"Horovod has {self.world} processes, not {context.world}"
        )

    def prepare(self, task: nn.Module, setup: EngineSetup) -> None:
        """Wrap the optimizer, and start everywhere from the first process's weights."""
        super().prepare(with_plain_strides(task), setup)
        named = [(n, p) for n, p in self.task.named_parameters() if p.requires_grad]
        self.optimizer = self.hvd.DistributedOptimizer(
            self.optimizer, named_parameters=named, backward_passes_per_step=setup.share.count
        )
        assert hasattr(self.optimizer, "synchronize"), "the optimizer is not Horovod's"
        self.hvd.broadcast_parameters(self.task.state_dict(), root_rank=0)

    def reduce(self, values: Tensor, op: Literal["mean", "sum", "max"] = "mean") -> Tensor:
        """The same over all processes."""
        kinds = {"mean": self.hvd.Average, "sum": self.hvd.Sum, "max": self.hvd.Max}
        return self.hvd.allreduce(values, op=kinds[op])

    def gather(self, what: Any) -> list[Any]:
        """What each process has, in the order of the processes."""
        return list(self.hvd.allgather_object(what))

    def barrier(self) -> None:
        """Wait until every process is here."""
        self.hvd.allreduce(torch.zeros(1), name="barrier")

    def squared_norms(self, groups: Mapping[str, list[str]]) -> dict[str, float]:
        """Of the gradients that have arrived."""
        self.optimizer.synchronize()
        return super().squared_norms(groups)

    def close(self) -> None:
        """Leave together."""
        self.barrier()
        self.hvd.shutdown()

    def _norm(self) -> float:
        # A step may leave parameters without a gradient; Horovod fills these with zeros.
        self.optimizer.synchronize()
        return super()._norm()

    def _update(self) -> None:
        with self.optimizer.skip_synchronize():
            self.optimizer.step()


def check_horovod() -> None:
    """Raises AnomalystError where Horovod was not built."""
    if importlib.util.find_spec("horovod") is None:
        raise AnomalystError(
            "--engine horovod: Horovod is not installed; scripts/build-horovod.sh builds it "
            "(four minutes), or take --engine ddp, which averages gradients just so."
        )
