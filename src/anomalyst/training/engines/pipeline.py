"""Pipelines: blocks are dealt to processes in order, micro-batches follow each other through them.

GPipe (Huang et al. 2019), 1F1B and interleaved 1F1B (Narayanan et al. 2021), by
torch.distributed.pipelining. Of p stages and m micro-batches a process idles for (p - 1) of
(m + p - 1) turns; with v parts of the layers in each process, for (p - 1) of (v m + p - 1).
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.pipelining import (
    PipelineStage,
    Schedule1F1B,
    ScheduleGPipe,
    ScheduleInterleaved1F1B,
)

from anomalyst.training.chain import Figures
from anomalyst.training.distributed.ranks import RankContext
from anomalyst.training.engine_names import EngineName
from anomalyst.training.engines.base import EngineSetup, trained_state
from anomalyst.training.engines.model_parallel import TensorEngine
from anomalyst.training.engines.sharding import gathered
from anomalyst.training.recipe import EngineConfig


class Part(nn.Module):
    """Some of the blocks, in order; the first part makes what they read out of a micro-batch."""

    def __init__(self, engine: "PipelineEngine", blocks: Sequence[nn.Module], *, first: bool):
        super().__init__()
        self.engine, self.first = [engine], first  # in a list: the engine's task is no part of it
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D); of the first part the number of a micro-batch, (1,)."""
        engine = self.engine[0]
        with engine.autocast():
            if self.first:
                x = engine.chain.begin(engine.batches[int(x)])
            for block in self.blocks:
                x = engine.chain.run(block, x)
        return x.float()


class PipelineEngine(TensorEngine):
    """Blocks dealt to stages, and where `tensor_size` says so each block to several processes."""

    own_order = True

    def __init__(self, context: RankContext, config: EngineConfig):
        self.name: EngineName = config.name
        super().__init__(context, config)
        self.order = config.order
        self.count = config.parts_of_layers(self.world)
        self.stages = config.stages(self.world)
        self.group = self.mesh.get_group("stages")
        self.batches: list[Any] = []
        self.lengths: tuple[int, int] | None = None
        self.schedule: Any = None
        self.busy = self.passed = 0.0

    def prepare(self, task: nn.Module, setup: EngineSetup) -> None:
        """Keep this process's parts of the chain, and give the others' memory back."""
        assert setup.chain is not None
        each = len(setup.chain.blocks) // self.count
        dealt_to = {name: i // each % self.stages for i, name in enumerate(setup.chain.blocks)}
        names = list(setup.chain.blocks)
        self.own = [i for i in range(self.count) if i % self.stages == self.stage]
        self.blocks_of = {i: names[i * each : (i + 1) * each] for i in self.own}
        self.last = (self.count - 1) % self.stages  # the process with the loss
        after = [f"module.{name}." for name in setup.chain.after]
        self.places: dict[nn.Parameter, set[int]] = {}
        for name, parameter in task.named_parameters(remove_duplicate=False):
            block = next((b for b in names if name.startswith(f"module.{b}.")), "")
            late = name.startswith(tuple(after))
            place = dealt_to[block] if block else self.last if late else 0
            self.places.setdefault(parameter, set()).add(place)
        assert (
            trained_state(task).keys() <= dict(task.named_parameters(remove_duplicate=False)).keys()
        ), "statistics are not dealt out"
        for parameter, places in self.places.items():
            if self.stage not in places:
                parameter.data = parameter.data.new_empty(0)
        shared = [p for p, places in self.places.items() if len(places) > 1]
        self.shared = [p for p in shared if self.stage in self.places[p] and p.requires_grad]
        self.counted_elsewhere = frozenset(
            p for p in self.shared if self.stage != min(self.places[p])
        )
        super().prepare(task, setup)
        self.modules = {
            i: Part(self, [setup.chain.blocks[n] for n in self.blocks_of[i]], first=i == 0)
            for i in self.own
        }

    def all_passes(self, batches: Sequence[Any]) -> list[tuple[Tensor, Figures]]:
        """Forward and backward passes of all of a step's micro-batches, in the pipeline's order."""
        self._take(batches)
        begun, count = time.perf_counter(), len(self.batches)
        losses: list[Tensor] = []
        numbers = torch.arange(count, device=self.device)
        given = {"target": numbers, "losses": losses} if self.stage == self.last else {}
        read = (numbers,) if self.stage == 0 else ()
        self.schedule.step(*read, return_outputs=False, **given)
        self._add_shared()
        told = torch.zeros(count, device=self.device)
        if self.stage == self.last:
            told = torch.stack([x.detach() for x in losses]) * count
        dist.all_reduce(told, group=self.group)
        self.passed += time.perf_counter() - begun
        return [(loss, {}) for loss in told]

    @torch.no_grad()
    def forward(self, batch: Any, *, last: bool) -> tuple[Tensor, Figures]:  # noqa: ARG002
        """Loss of a micro-batch that is only looked at: no backward pass can follow."""
        self.batches = [self.moved(batch)]
        shape = (*self.chain.places(batch), self.chain.width)
        x = torch.zeros(1, device=self.device)
        for part in range(self.count):
            source, here = (part - 1) % self.stages, part % self.stages
            if part and source != here and self.stage == source:
                dist.send(x, group=self.group, group_dst=here)
            if part and source != here and self.stage == here:
                x = torch.empty(shape, device=self.device)
                dist.recv(x, group=self.group, group_src=source)
            if self.stage == here:
                x = self.modules[part](x)
        loss = torch.zeros((), device=self.device)
        if self.stage == self.last:
            with self.autocast():
                loss = self.chain.finish(x, self.batches[0]).float()
        dist.all_reduce(loss, group=self.group)
        return loss, {}

    def figures(self) -> dict[str, float]:
        """The share of the time since the last line in which a stage computes nothing.

        On a GPU, whose calls return before it has computed, that is not known.
        """
        if self.device.type == "cuda":
            return super().figures()
        idle = torch.tensor(1 - self.busy / self.passed)
        self.busy = self.passed = 0.0
        return super().figures() | {"bubble_share": round(float(self.reduce(idle)), 4)}

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Gather the parts in the first process; the others get none. Every process calls."""
        held = self._held_state()
        own = {n: gathered(v, held[n]).detach().to("cpu") for n, v in tensors.items()}
        if self.column:
            return {}
        each: list[Any] | None = [None] * self.stages if self.stage == 0 else None
        dist.gather_object(own, each, group=self.group, group_dst=0)
        found: dict[str, Tensor] = {}
        for one in reversed(each or []):
            found |= one
        return found

    def _take(self, batches: Sequence[Any]) -> None:
        """A step's micro-batches; the schedule knows one shape, so another needs another."""
        self.batches = self.chain.aligned([self.moved(batch) for batch in batches])
        lengths = self.chain.places(self.batches[0])
        if self.lengths == lengths:
            return
        self.lengths = lengths
        between = torch.empty((*lengths, self.chain.width), device=self.device, requires_grad=True)
        stages = [self._stage(i, between) for i in self.own]
        make: Callable[..., Any] = {
            "gpipe": ScheduleGPipe, "1f1b": Schedule1F1B, "interleaved": ScheduleInterleaved1F1B,
        }[self.order]  # fmt: skip
        many: Any = stages if self.order == "interleaved" else stages[0]
        loss = self._timed(self._loss)
        self.schedule = make(many, len(self.batches), loss_fn=loss, scale_grads=False)

    def _stage(self, part: int, between: Tensor) -> Any:
        number = torch.zeros(1, dtype=torch.long, device=self.device)
        stage: Any = PipelineStage(
            self.modules[part],
            part,
            self.count,
            self.device,
            input_args=(between if part else number,),
            output_args=(between,),
            group=self.group,
        )
        stage.forward_one_chunk = self._timed(stage.forward_one_chunk)
        stage.backward_one_chunk = self._timed(stage.backward_one_chunk)
        return stage

    def _loss(self, x: Tensor, number: Tensor) -> Tensor:
        """A micro-batch's share of the step's loss."""
        with self.autocast():
            loss = self.chain.finish(x, self.batches[int(number)])
        return loss.float() / len(self.batches)

    def _timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            begun = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.busy += time.perf_counter() - begun

        return call

    def _add_shared(self) -> None:
        """Tied embeddings are used first and last: both processes need the sum of gradients."""
        for parameter in self.shared:
            gradient = parameter.grad
            if gradient is None:
                gradient = parameter.grad = torch.zeros_like(parameter)
            other = next(iter(self.places[parameter] - {self.stage}))
            theirs = torch.empty_like(gradient)
            sent = dist.isend(gradient, group=self.group, group_dst=other)
            dist.recv(theirs, group=self.group, group_src=other)
            if sent:
                sent.wait()
            gradient += theirs

    def _own_blocks(self) -> Iterable[nn.Module]:
        return [self.chain.blocks[name] for part in self.own for name in self.blocks_of[part]]

    def held_parameters(self) -> dict[str, nn.Parameter]:
        """By name; what other stages have was emptied."""
        return {name: p for name, p in self.task.named_parameters() if self._has(p)}

    def _held_state(self) -> dict[str, Tensor]:
        return {name: value for name, value in trained_state(self.task).items() if self._has(value)}

    def _has(self, value: Tensor) -> bool:
        return value.numel() > 0
