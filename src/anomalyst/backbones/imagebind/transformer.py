"""The trunk of every tower: pre-norm blocks of attention and a two-layer network.

Vision transformer (Dosovitskiy et al., ICLR 2021); stochastic depth (Huang et al., ECCV 2016).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anomalyst.backbones.imagebind.config import TowerConfig

EPSILON = 1e-6  # of every layer norm but that on the patches, which keeps torch's


class Attention(nn.Module):
    """Every token attends to all, or to those before it; with `bias_kv` to a learned one, too."""

    def __init__(self, width: int, heads: int, *, bias_kv: bool, causal: bool):
        super().__init__()
        assert not (bias_kv and causal)
        self.heads, self.causal = heads, causal
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.bias_kv = nn.Parameter(torch.empty(2, width)) if bias_kv else None
        if self.bias_kv is not None:
            nn.init.normal_(self.bias_kv, std=width**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        batch, tokens, width = x.shape
        heads = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads)
        q, k, v = heads.permute(2, 0, 3, 1, 4)  # each (B, heads, T, D / heads)
        if self.bias_kv is not None:
            learned = self.bias_kv.to(q.dtype).view(2, 1, self.heads, 1, -1)
            extra_k, extra_v = learned.expand(-1, batch, -1, -1, -1)
            k, v = torch.cat([k, extra_k], 2), torch.cat([v, extra_v], 2)  # (B, heads, T + 1, ...)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out(seen.transpose(1, 2).reshape(batch, tokens, width))


class DropPath(nn.Module):
    """In training, a share of the examples goes past the layer; the others count for more."""

    def __init__(self, share: float):
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> the same; in evaluation unchanged."""
        if not self.training or self.share == 0:
            return x
        kept = x.new_empty(len(x), 1, 1).bernoulli_(1 - self.share)
        return x * kept / (1 - self.share)


class Block(nn.Module):
    """x + attention(norm(x)), then x + network(norm(x))."""

    def __init__(self, config: TowerConfig, *, causal: bool, drop_path: float):
        super().__init__()
        width, hidden = config.width, config.width * config.mlp_ratio
        self.norm_attention = nn.LayerNorm(width, EPSILON)
        self.attention = Attention(width, config.heads, bias_kv=config.bias_kv, causal=causal)
        self.norm_mlp = nn.LayerNorm(width, EPSILON)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        x = x + self.drop_path(self.attention(self.norm_attention(x)))
        return x + self.drop_path(self.mlp(self.norm_mlp(x)))


class Trunk(nn.Module):
    """The blocks of a tower; deeper ones are skipped more often in training."""

    def __init__(self, config: TowerConfig, *, causal: bool = False):
        super().__init__()
        self.norm_first = nn.LayerNorm(config.width, EPSILON) if config.norm_first else None
        shares = torch.linspace(0, config.drop_path, config.depth, device="cpu").tolist()
        self.blocks = nn.ModuleList(
            Block(config, causal=causal, drop_path=share) for share in shares
        )
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, wanted: tuple[int, ...] = ()) -> tuple[Tensor, list[Tensor]]:
        """(B, T, D) -> the last block's output, and those of the blocks `wanted` (from 0)."""
        if self.norm_first is not None:
            x = self.norm_first(x)
        outputs = {}
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in wanted:
                outputs[number] = x
        return x, [outputs[number] for number in wanted]
