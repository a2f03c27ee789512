"""Mixture of experts: an MLP of which every token uses a few parts (Shazeer et al. 2017).

Nothing is dropped: an expert takes as many tokens as are sent to it. Experts may lie in several
processes; then tokens travel to them and back by all-to-all (Lepikhin et al. 2020, GShard).
"""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from anomalyst.errors import AnomalystError


class Experts(nn.Module):
    """`count` gated MLPs as LLaMA's, and a router that sends every token to `chosen` of them."""

    balance: Tensor  # of the last call: 1 where tokens are evenly spread, up to `count`
    shares: Tensor  # of the last call: of the tokens' choices, each expert's share, (count,)

    def __init__(self, width: int, hidden: int, count: int, chosen: int, scale: float = 0.02):
        super().__init__()
        if not 1 <= chosen <= count:
            raise AnomalystError(f"experts: {chosen} of {count} cannot be chosen for each token.")
        self.count, self.chosen = count, chosen
        self.group: Any = None  # processes that share the experts; None: all are here
        self.router = nn.Linear(width, count, bias=False)
        self.gate = nn.Parameter(torch.randn(count, width, hidden) * scale)
        self.up = nn.Parameter(torch.randn(count, width, hidden) * scale)
        self.down = nn.Parameter(torch.randn(count, hidden, width) * scale)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> the same."""
        tokens = x.reshape(-1, x.shape[-1])  # (N, D)
        likely = self.router(tokens).float().softmax(-1)  # (N, count)
        weights, experts = likely.topk(self.chosen, -1)  # (N, chosen)
        weights = weights / weights.sum(-1, keepdim=True)
        sent_to = experts.flatten()  # (N chosen,)
        counts = sent_to.bincount(minlength=self.count)
        self.shares = counts / counts.sum()
        # Fedus et al. 2022, equation 4, of all choices instead of the first.
        self.balance = self.count * (self.shares * likely.mean(0)).sum()
        order = sent_to.argsort(stable=True)
        sorted_tokens = tokens.repeat_interleave(self.chosen, 0)[order]
        answered = self._answers(sorted_tokens, counts)
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order), device=order.device)
        each = answered[back].unflatten(0, (-1, self.chosen))  # (N, chosen, D)
        return (each * weights[..., None].to(each.dtype)).sum(1).reshape(x.shape)

    def _answers(self, tokens: Tensor, counts: Tensor) -> Tensor:
        """Tokens sorted by expert (M, D) and how many each gets (count,) -> answers (M, D)."""
        if self.group is None:
            return self._here(tokens, counts.tolist())
        world = dist.get_world_size(self.group)
        mine = self.count // world
        arriving = torch.empty_like(counts)  # (world mine,): from each process for each of mine
        dist.all_to_all_single(arriving, counts, group=self.group)
        out, into = (c.view(world, mine).sum(1).tolist() for c in (counts, arriving))
        got = AllToAll.apply(tokens, out, into, self.group)
        # What arrives is sorted by sender, then expert; each expert wants its own together.
        expert = torch.arange(mine).repeat(world).repeat_interleave(arriving.cpu())
        order = expert.argsort(stable=True).to(tokens.device)
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order), device=order.device)
        own = self._here(got[order], arriving.view(world, mine).sum(0).tolist())[back]
        answers: Tensor = AllToAll.apply(own, into, out, self.group)
        return answers

    def _here(self, tokens: Tensor, counts: list[int]) -> Tensor:
        """Tokens sorted by this process's experts -> their answers."""
        gate, up, down = (_local(p) for p in (self.gate, self.up, self.down))
        answers = [
            (F.silu(some @ g) * (some @ u)) @ d
            for some, g, u, d in zip(tokens.split(counts), gate, up, down, strict=True)
        ]
        return torch.cat(answers)


class AllToAll(torch.autograd.Function):
    """Rows (M, D) to the processes of a group, `out` rows to each; `into` from each come back."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, out: list[int], into: list[int], group: Any) -> Tensor:
        ctx.out, ctx.into, ctx.group = out, into, group
        got = rows.new_empty(sum(into), *rows.shape[1:])
        dist.all_to_all_single(got, rows.contiguous(), into, out, group=group)
        return got

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        back = gradients[0].new_empty(sum(ctx.out), *gradients[0].shape[1:])
        dist.all_to_all_single(back, gradients[0].contiguous(), ctx.out, ctx.into, group=ctx.group)
        return back, None, None, None


def _local(parameter: Tensor) -> Tensor:
    """What of it lies in this process."""
    return parameter.to_local() if isinstance(parameter, DTensor) else parameter
