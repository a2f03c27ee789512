"""How a run is spread: what every engine does, and the plain one in a single process.

An engine knows no model. It is given a module whose forward is a loss, and speaks in its terms.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

from anomalyst.training.chain import Chain, Figures
from anomalyst.training.distributed.ranks import RankContext
from anomalyst.training.engine_names import EngineName
from anomalyst.training.engines.optimizer_state import load_optimizer, save_optimizer
from anomalyst.training.engines.sharding import held_bytes
from anomalyst.training.optimization import LossScale, make_optimizer
from anomalyst.training.recipe import Recipe
from anomalyst.training.task import Share

Precision = Literal["bfloat16", "float32", "float16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSetup:
    """What an engine is told of a run."""

    recipe: Recipe
    share: Share  # this process's micro-batches of a step
    precision: Precision  # what the recipe's `auto` came to
    blocks: Mapping[str, nn.Module]  # parts that repeat and are only ever called by forward
    chain: Chain | None = None  # how the loss is computed block by block, where it can be told
    leaves_out: bool  # a step may leave trained parameters without a gradient


@dataclass(frozen=True, slots=True)
class StepResult:
    """What an optimizer step did."""

    gradient_norm: float  # of the whole gradient, before clipping
    learning_rate: float  # as it stood in the optimizer
    loss_scale: float = 1.0
    skipped: bool = False  # a float16 overflow: nothing was changed


class Engine:
    """One process; subclasses override what several processes change."""

    name: EngineName = "single"
    in_group = False  # whether torch.distributed connects the processes
    own_order = False  # whether it runs a step's passes itself, by `all_passes`
    wrapped: Any  # what is called with a batch: the task, or what a library made of it
    optimizer: Any
    trained: list[nn.Parameter]  # found once: walking a model costs a millisecond

    def __init__(self, context: RankContext):
        self.rank, self.world = context.rank, context.world
        cuda = torch.cuda.is_available()
        self.device = torch.device("cuda", context.local_rank) if cuda else torch.device("cpu")
        if cuda:
            torch.cuda.set_device(self.device)

    def prepare(self, task: nn.Module, setup: EngineSetup) -> None:
        """Take a module whose forward gives (loss, parts); raises if it is not spread as asked."""
        self.task, self.setup = task.to(self.device), setup
        self.wrapped = self._wrap(self.task)
        self.trained = [p for p in self.held_parameters().values() if p.requires_grad]
        self.optimizer = make_optimizer(setup.recipe, self._trained_groups())
        half = setup.precision == "float16"
        power, window = setup.recipe.loss_scale_power, setup.recipe.loss_scale_window
        self.scale = LossScale(power, window) if half else None

    def forward(self, batch: Any, *, last: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a micro-batch and its parts; `last` of the step's."""
        self._synchronise(last)
        return self.wrapped(batch)

    def backward(self, loss: Tensor, *, last: bool) -> None:  # noqa: ARG002
        """Add the gradient of one micro-batch's loss, each an equal share of the step's."""
        scale = self.scale.scale if self.scale else 1.0
        (loss * (scale / self.setup.share.count)).backward()

    def all_passes(self, batches: Sequence[Any]) -> list[tuple[Tensor, Figures]]:
        """Forward and backward of a step's micro-batches in an order of its own; their losses."""
        raise NotImplementedError

    def figures(self) -> dict[str, float]:
        """What else a line of the log tells of the steps since the last; every process calls.

        `held_mb`: megabytes of weights, gradients and optimizer in the process that has most.
        """
        held = torch.tensor(held_bytes(self.trained, self.optimizer) / 1e6)
        return {"held_mb": round(float(self.reduce(held, "max")), 3)}

    def held_parameters(self) -> dict[str, nn.Parameter]:
        """By name, those whose optimizer's state this process keeps, or a part of it."""
        return dict(self.task.named_parameters())

    def step(self, learning_rate: float) -> StepResult:
        """Clip the gradient, change the weights, clear the gradient."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        if self.setup.leaves_out:
            # What a step left out counts as zero, as every engine but the plain one has it anyway.
            for parameter in self.trained:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
        scale = self.scale.scale if self.scale else 1.0
        norm = self._norm() / scale
        used = float(self.optimizer.param_groups[0]["lr"])
        # Without a loss scale the training monitor names a broken gradient, before it does harm.
        skipped = not math.isfinite(norm)
        if self.scale:
            self.scale.after(overflow=skipped)
        if not skipped:
            clip = self.setup.recipe.clip_norm
            factor = (min(1.0, clip / (norm + 1e-6)) if clip else 1.0) / scale
            if factor != 1:
                self._multiply(factor)
            self._update()
        self.optimizer.zero_grad()
        return StepResult(norm, used, scale, skipped)

    def reduce(self, values: Tensor, op: Literal["mean", "sum", "max"] = "mean") -> Tensor:  # noqa: ARG002
        """The same over all processes: any tensor -> one of its shape."""
        return values

    def gather(self, what: Any) -> list[Any]:
        """What each process has, in the order of the processes."""
        return [what]

    def barrier(self) -> None:
        """Wait until every process is here."""

    def squared_norms(self, groups: Mapping[str, list[str]]) -> dict[str, float]:
        """Of each group of trained tensors, the squared norm of the gradient before the step."""
        by_name = dict(self.task.named_parameters())
        found = {}
        for name, members in groups.items():
            given = [g for m in members if (g := by_name[m].grad) is not None]
            found[name] = float(nn.utils.get_total_norm(given)) ** 2 if given else 0.0
        return found

    def state(self) -> dict[str, Tensor]:
        """What is trained, by name, as this process holds it (a shard where it is spread)."""
        return trained_state(self.task)

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors shaped like `state` -> whole, in the first process's memory."""
        return {name: value.detach().to("cpu") for name, value in tensors.items()}

    def share(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Whole tensors -> as `state` holds them."""
        return {name: value.to(self.device) for name, value in tensors.items()}

    def optimizer_bytes(self) -> int:
        """What the optimizer remembers: of what every process has, once; of shards, all."""
        states = self.optimizer.state.values()
        return sum(v.numel() * v.element_size() for s in states for v in s.values()
                   if isinstance(v, Tensor))  # fmt: skip

    def save(self, folder: Path) -> None:
        """Write the optimizer's state into a folder; every process calls."""
        if self.in_group or self.rank == 0:
            held = self.held_parameters()
            save_optimizer(folder, held, self.optimizer, spread=self.in_group)
        self.barrier()

    def load(self, folder: Path) -> None:
        """Read what `save` wrote, at this or at another number of processes."""
        load_optimizer(folder, self.held_parameters(), self.optimizer, spread=self.in_group)

    def note(self) -> dict[str, Any]:
        """What else a checkpoint must keep."""
        return {"loss_scale": [self.scale.scale, self.scale.calm]} if self.scale else {}

    def restore(self, note: Mapping[str, Any]) -> None:
        """Take up what `note` gave."""
        if self.scale and "loss_scale" in note:
            self.scale.scale, self.scale.calm = note["loss_scale"]

    def close(self) -> None:
        """Part from the others."""

    def _wrap(self, task: nn.Module) -> nn.Module:
        return task

    def _synchronise(self, last: bool) -> None:
        """Whether the coming backward pass shares its gradient with the others."""

    def _update(self) -> None:
        self.optimizer.step()

    def _trained_groups(self) -> list[dict[str, list[nn.Parameter]]]:
        return [{"params": self.trained}]

    def _gradients(self) -> list[Tensor]:
        return [p.grad for p in self.trained if p.grad is not None]

    def _norm(self) -> float:
        gradients = self._gradients()
        return float(nn.utils.get_total_norm(gradients)) if gradients else 0.0

    def _multiply(self, factor: float) -> None:
        gradients = self._gradients()
        if gradients:
            torch._foreach_mul_(gradients, factor)


class GroupEngine(Engine):
    """Processes connected by torch.distributed."""

    def __init__(self, context: RankContext):
        super().__init__(context)
        self.in_group = context.world > 1
        if not dist.is_initialized():
            backend = "cpu:gloo,cuda:nccl" if self.device.type == "cuda" else "gloo"
            store = context.rendezvous()
            dist.init_process_group(backend, rank=context.rank, world_size=context.world, **store)
        assert dist.get_world_size() == context.world, "the group is not the one asked for"

    def reduce(self, values: Tensor, op: Literal["mean", "sum", "max"] = "mean") -> Tensor:
        """The same over all processes."""
        whole = values.clone()
        dist.all_reduce(whole, dist.ReduceOp.MAX if op == "max" else dist.ReduceOp.SUM)
        return whole / self.world if op == "mean" else whole

    def gather(self, what: Any) -> list[Any]:
        """What each process has, in the order of the processes."""
        held = [None] * self.world
        dist.all_gather_object(held, what)
        return held

    def barrier(self) -> None:
        """Wait until every process is here."""
        dist.barrier()

    def autocast(self) -> torch.autocast:
        """As the loss of other engines is computed, for those that run blocks themselves."""
        low = None if self.setup.precision == "float32" else getattr(torch, self.setup.precision)
        return torch.autocast(self.device.type, low, enabled=low is not None)

    def moved(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A micro-batch on this process's device."""
        return {name: value.to(self.device) for name, value in batch.items()}

    def close(self) -> None:
        """Leave the group together."""
        if dist.is_initialized():
            dist.barrier()
            sys.stdout.flush()
            dist.destroy_process_group()


def trained_state(module: nn.Module) -> dict[str, Tensor]:
    """The state of a module without its frozen parameters, which are not ours to keep."""
    frozen = {n for n, p in module.named_parameters(remove_duplicate=False) if not p.requires_grad}
    return {name: value for name, value in module.state_dict().items() if name not in frozen}


def with_plain_strides(module: nn.Module) -> nn.Module:
    """The module with its weights in the plain order that some libraries can only send."""
    for parameter in module.parameters():
        # `contiguous` leaves the strides of sides of length one as they are.
        plain = torch.empty(parameter.shape, dtype=parameter.dtype, device=parameter.device)
        parameter.data = plain.copy_(parameter.data)
    return module
