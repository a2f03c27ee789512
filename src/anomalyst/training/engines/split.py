"""Engines whose processes hold parts of tensors (DTensor) beside whole ones."""

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from anomalyst.training.engines.base import GroupEngine, trained_state
from anomalyst.training.engines.sharding import dealt, gathered, local


class SplitEngine(GroupEngine):
    """State, norms and optimizer groups of what is dealt out; how it is dealt, subclasses say."""

    counted_elsewhere: frozenset[nn.Parameter] = frozenset()  # held by a second process, too

    @property
    def holders(self) -> int:
        """How many processes hold what is whole."""
        return self.world

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
        held = self.held_parameters()
        sums = [self._squared(held[m] for m in members if m in held) for members in groups.values()]
        whole = self.reduce(torch.tensor(sums, dtype=torch.float64), "sum")
        return dict(zip(groups, whole.tolist(), strict=True))

    def _held_state(self) -> dict[str, Tensor]:
        return trained_state(self.task)

    def _trained_groups(self) -> list[dict[str, list[nn.Parameter]]]:
        """Dealt out parameters and whole ones apart: no optimizer steps both at once."""
        split: list[nn.Parameter] = [p for p in self.trained if isinstance(p, DTensor)]
        whole = [p for p in self.trained if not isinstance(p, DTensor)]
        return [{"params": group} for group in (split, whole) if group]

    def _norm(self) -> float:
        squared = self._squared(self.trained)
        return math.sqrt(float(self.reduce(torch.tensor(squared, dtype=torch.float64), "sum")))

    def _squared(self, parameters: Iterable[nn.Parameter]) -> float:
        """This process's part of the squared norm of gradients."""
        total = 0.0
        for parameter in parameters:
            gradient = parameter.grad
            if gradient is None or parameter in self.counted_elsewhere:
                continue
            square = float(local(gradient).double().pow(2).sum())
            alone = isinstance(gradient, DTensor) and gradient.placements[0].is_shard()
            total += square if alone else square / self.holders
        return total

    def _multiply(self, factor: float) -> None:
        for gradient in self._gradients():
            gradient.mul_(factor)
