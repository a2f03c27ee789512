"""Losses over a batch of pairs, each of which has all the others as its negatives.

InfoNCE: van den Oord et al. 2018, eq. 4; symmetric with a learned temperature: Radford et al. 2021,
fig. 3. Sigmoid: Zhai et al. 2023, eq. 1. Several processes see one batch (`gathered`).
"""

import math
from typing import Any, Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

Objective = Literal["infonce", "sigmoid"]
Direction = Literal["both", "from_image", "to_image"]

START_SCALE = {"infonce": math.log(1 / 0.07), "sigmoid": math.log(10.0)}
START_BIAS = -10.0  # of the sigmoid: nearly all pairs are negative at first
LARGEST_SCALE = 100.0


class Contrast(nn.Module):
    """A learned temperature, and for the sigmoid a bias, over pairs of images and one sense."""

    def __init__(self, objective: Objective, direction: Direction = "both"):
        super().__init__()
        assert objective == "infonce" or direction == "both", "the sigmoid has no direction"
        self.objective, self.direction = objective, direction
        self.log_scale = nn.Parameter(torch.tensor(START_SCALE[objective]))
        self.bias = nn.Parameter(torch.tensor(START_BIAS)) if objective == "sigmoid" else None

    def forward(self, image: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors (B, D) of pairs -> the loss, and the share of images that find their own.

        B is this process's part; negatives are those of all processes.
        """
        first = (dist.get_rank() if _in_group() else 0) * len(image)
        images, others = gathered(image.float()), gathered(other.float())
        own = torch.arange(first, first + len(image), device=image.device)  # (B,)
        scale = self.log_scale.exp().clamp(max=LARGEST_SCALE)
        rows = scale * image.float() @ others.T  # (B, W B): my images against all
        found = (rows.argmax(1) == own).float().mean()
        if self.bias is not None:
            return sigmoid_loss(rows + self.bias, own), found
        columns = scale * other.float() @ images.T
        return info_nce(rows, columns, own, self.direction), found


def info_nce(rows: Tensor, columns: Tensor, own: Tensor, direction: Direction) -> Tensor:
    """Cross-entropy of each one's own partner, mean over the batch.

    `rows` (B, N): logits of images against all others; `columns` (B, N): the other way round;
    `own` (B,): which is the partner.
    """
    if direction == "from_image":
        return F.cross_entropy(rows, own)
    if direction == "to_image":
        return F.cross_entropy(columns, own)
    return (F.cross_entropy(rows, own) + F.cross_entropy(columns, own)) / 2


def sigmoid_loss(logits: Tensor, own: Tensor) -> Tensor:
    """-log sigmoid(z logit), z = 1 for pairs and -1 for the rest, summed over a row: (B, N)."""
    signs = -torch.ones_like(logits)
    signs[torch.arange(len(logits), device=logits.device), own] = 1.0
    return -F.logsigmoid(signs * logits).sum(1).mean()


def gathered(x: Tensor) -> Tensor:
    """Rows (B, D) of all processes in their order, (W B, D); each gets its own gradients back."""
    if not _in_group():
        return x
    found: Tensor = _Gathered.apply(x)
    return found


def _in_group() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


class _Gathered(torch.autograd.Function):
    """All-gather; backwards, what every process wants of my rows is summed.

    With each process's loss a mean over its own rows and gradients averaged over processes, the
    gradient is that of one process with the whole batch.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.rows = len(x)
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        whole = gradient.contiguous()
        dist.all_reduce(whole)
        first = dist.get_rank() * ctx.rows
        return whole[first : first + ctx.rows]
