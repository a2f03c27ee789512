"""The averaged weights, which are the ones that ship."""

import torch

from anomalyst.training.checkpoint import Checkpoint
from anomalyst.training.engines import Engine


class AveragedWeights:
    """Exponential moving average of all weights and statistics, as the engine holds them."""

    def __init__(self, decay: float, engine: Engine, found: Checkpoint | None):
        """A decay of 0 keeps none: then `tensors` are the weights themselves."""
        self.decay, self.engine = decay, engine
        if not decay:
            self.tensors = engine.state()
        elif found:
            kept = found.tensors("average")
            self.tensors = engine.share({f"module.{name}": value for name, value in kept.items()})
        else:
            self.tensors = {
                name: value.detach().float().clone() if value.is_floating_point() else value.clone()
                for name, value in engine.state().items()
            }

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after a step; early steps count more, so that it warms up."""
        if not self.decay:
            return
        decay = min(self.decay, (step + 1) / (step + 10))
        state = self.engine.state()
        floats = {name: value for name, value in state.items() if value.is_floating_point()}
        kept = [self.tensors[name] for name in floats]
        new = [value.to(k.dtype) for value, k in zip(floats.values(), kept, strict=True)]
        torch._foreach_lerp_(kept, new, 1 - decay)
        for name in state.keys() - floats.keys():
            self.tensors[name].copy_(state[name])
