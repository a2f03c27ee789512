"""Sequence parallel: every process has all weights and some of the tokens of each text.

Only attention looks at other tokens; there, heads are exchanged for tokens (Jacobs et al. 2023,
DeepSpeed-Ulysses). What grows with the length, activations and logits, is shared.
"""

from typing import Any

import torch.distributed as dist
from torch import Tensor, nn

from anomalyst.training.chain import Chain, Figures
from anomalyst.training.engines.base import EngineSetup, GroupEngine
from anomalyst.training.engines.sharding import sum_gradients


class SequenceEngine(GroupEngine):
    """All processes read the same texts, each its stretch of them."""

    name = "sequence"

    def prepare(self, task: nn.Module, setup: EngineSetup) -> None:
        """Tell every block with whom it shares the tokens."""
        assert setup.chain is not None
        self.chain: Chain = setup.chain
        super().prepare(task, setup)
        for block in self.chain.blocks.values():
            self.chain.share_tokens(block, dist.group.WORLD)

    def forward(self, batch: Any, *, last: bool) -> tuple[Tensor, Figures]:  # noqa: ARG002
        """This process's part of the loss, with the whole one beside it."""
        (whole,) = self.chain.aligned([self.moved(batch)], self.world)
        each = self.chain.places(whole)[1] // self.world
        first = self.rank * each
        with self.autocast():
            x = self.chain.begin(whole)[:, first : first + each]  # (B, T / n, D)
            for block in self.chain.blocks.values():
                x = self.chain.run(block, x, first)
            own = self.chain.finish_part(x, whole, first)
        told = own.detach().clone()
        dist.all_reduce(told)
        # The value is the whole loss, the gradient that of this part.
        return own + (told - own.detach()), {}

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Each part's gradient; their sum is the step's."""
        super().backward(loss, last=last)
        if last:
            sum_gradients(self.trained, dist.group.WORLD)
