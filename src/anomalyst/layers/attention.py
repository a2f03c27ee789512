"""Self-attention with positions by name."""

import math

import torch
from torch import Tensor, nn

from anomalyst.errors import AnomalystError
from anomalyst.layers.activations import softmax
from anomalyst.layers.positions import PositionName, RelativeBias, rotated, sinusoids


class Attention(nn.Module):
    """Every token looks at every other, in `heads` ways (Vaswani et al. 2017, section 3.2)."""

    def __init__(self, width: int, heads: int, positions: PositionName = "none"):
        super().__init__()
        if width % heads:
            raise AnomalystError(f"attention: {heads} heads do not share a width of {width}.")
        if (
            positions == "rotary"
            and (width // heads) % 2
            or positions == "sinusoidal"
            and width % 2
        ):
            raise AnomalystError(
                f"attention: {positions} positions need pairs of numbers; width {width} with "
                f"{heads} heads has an odd one."
            )
        self.heads, self.positions = heads, positions
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.bias = RelativeBias(heads, causal=False) if positions == "relative" else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> the same."""
        where = torch.arange(x.shape[1], device=x.device)
        if self.positions == "sinusoidal":
            x = x + sinusoids(where, x.shape[-1]).to(x.dtype)
        q, k, v = (self._split(part(x)) for part in (self.query, self.key, self.value))
        if self.positions == "rotary":
            q, k = rotated(q, where), rotated(k, where)
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])  # (B, heads, T, T)
        if self.bias is not None:
            scores = scores + self.bias(where, where)
        seen = softmax(scores) @ v  # (B, heads, T, D / heads)
        joined: Tensor = self.out(seen.transpose(1, 2).flatten(2))  # (B, T, D)
        return joined

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, T, D / heads)
