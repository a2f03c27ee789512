"""The projector: what the encoder sees -> the language model's space (PandaGPT, LLaVA)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Projector(nn.Module):
    """Image embedding (B, D) and patch features (B, D', h, w) -> tokens (B, 1 + grid^2, E)."""

    def __init__(self, width: int, *, embedding: int, patch: int, grid: int):
        super().__init__()
        self.grid = grid
        self.whole = nn.Linear(embedding, width)
        self.patch = nn.Sequential(
            nn.LayerNorm(patch), nn.Linear(patch, width), nn.GELU(), nn.Linear(width, width)
        )
        self.place = nn.Parameter(torch.randn(grid * grid, width) * 0.02)
        self.norm = nn.LayerNorm(width)
        nn.init.constant_(self.norm.weight, 0.1)

    def forward(self, embedding: Tensor, patches: Tensor) -> Tensor:
        cells = F.adaptive_avg_pool2d(patches, self.grid).flatten(2).transpose(1, 2)  # (B, g^2, D')
        return self.norm(
            torch.cat([self.whole(embedding)[:, None], self.patch(cells) + self.place], 1)
        )
