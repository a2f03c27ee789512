"""Positions by name: how attention is told where a token stands."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

PositionName = Literal["none", "sinusoidal", "relative", "rotary"]
BASE = 10_000.0  # longest wavelength over 2 pi, of sinusoids and of rotations
BUCKETS = 32  # of relative distances: one each up to half of them, then by factors
FARTHEST = 128  # distances from here on share a bucket


def sinusoids(positions: Tensor, width: int) -> Tensor:
    """Positions (...) -> (..., width) in [-1, 1]: sines, and cosines, at falling frequencies.

    Vaswani et al. 2017, section 3.5: sine in the even columns, cosine in the odd ones. `width` must
    be even.
    """
    angles = positions[..., None].float() * _frequencies(width, positions.device)  # (..., width/2)
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(-2)  # (..., width)


def rotated(x: Tensor, positions: Tensor) -> Tensor:
    """x (..., T, D) with each pair of numbers turned by its token's position (T,) times its rate.

    Su et al. 2021, equation 34: the dot product of two such vectors depends on their distance
    alone. `D` must be even; pairs are neighbours.
    """
    angles = positions[..., None].float() * _frequencies(x.shape[-1], x.device)  # (T, D/2)
    cos, sin = angles.cos(), angles.sin()
    first, second = x[..., 0::2], x[..., 1::2]
    turned = torch.stack([first * cos - second * sin, first * sin + second * cos], -1)
    return turned.flatten(-2).to(x.dtype)  # (..., T, D)


class RelativeBias(nn.Module):
    """A learnt number for each head and distance, added to attention's scores.

    Raffel et al. 2020, section 2.1: near distances have a bucket each, far ones share them by
    factors. Causal: what lies behind the query counts as distance 0, nobody looks there. It starts
    at 0, as no positions.
    """

    def __init__(self, heads: int, *, causal: bool):
        super().__init__()
        self.causal = causal
        sides = 1 if causal else 2
        self.table = nn.Parameter(torch.zeros(sides * BUCKETS, heads))

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Positions (Q,) and (K,) -> (1, heads, Q, K)."""
        distance = queries[:, None] - keys[None, :]  # (Q, K); positive: the key is before
        buckets = bucket(distance.abs() if not self.causal else distance.clamp(min=0))
        if not self.causal:
            buckets = buckets + BUCKETS * (distance < 0)
        return self.table[buckets].permute(2, 0, 1)[None]


def bucket(distance: Tensor) -> Tensor:
    """Distances of 0 or more -> numbers in [0, BUCKETS)."""
    near = BUCKETS // 2
    far = (distance.clamp(min=1) / near).log() / math.log(FARTHEST / near) * (BUCKETS - near)
    shared = (near + far.clamp(min=0)).long().clamp(max=BUCKETS - 1)
    return torch.where(distance < near, distance, shared)


def _frequencies(width: int, device: torch.device) -> Tensor:
    assert width % 2 == 0, "pairs of numbers are needed"
    return BASE ** (-torch.arange(0, width, 2, device=device).float() / width)
