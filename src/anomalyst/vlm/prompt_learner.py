"""The prompt learner: anomaly map and regions -> prompt embeddings of a language model.

After AnomalyGPT (Gu et al., AAAI 2024, section 3.4): convolutions over the map and free learned
vectors. Here the map may have any size, the regions are seen as well, and every token leaves with
the spread of a word embedding.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anomalyst.types import Region

MAP_CELLS = 48  # side to which any map is brought before the convolutions
REGION_FIGURES = 8  # per region: box, area, peak, centre


class PromptLearner(nn.Module):
    """Map (B, 1, H, W) in [0, 1] and regions (B, R, 8) -> tokens (B, base + 9 + R, E).

    A row of regions is (x0, y0, x1, y1, root of the area, peak, x, y), all shares of the picture in
    [0, 1]; a row of zeros stands for no region.
    """

    def __init__(self, width: int, *, base_tokens: int, regions: int):
        super().__init__()
        self.base = nn.Parameter(torch.randn(base_tokens, width) * 0.02)
        self.see = nn.Sequential(  # 48 -> 24 -> 12 -> 6 -> 3: one token per cell of the place words
            *_halving(1, 16), *_halving(16, 32), *_halving(32, 64), *_halving(64, 128)
        )
        self.map_out = nn.Linear(128, width)
        self.region = nn.Sequential(nn.Linear(REGION_FIGURES, 64), nn.GELU(), nn.Linear(64, width))
        self.order = nn.Parameter(torch.randn(regions, width) * 0.02)  # first, second, ...
        self.norm = nn.LayerNorm(width)
        nn.init.constant_(self.norm.weight, 0.1)

    def forward(self, anomaly_map: Tensor, regions: Tensor) -> Tensor:
        seen = self.see(F.adaptive_avg_pool2d(anomaly_map, MAP_CELLS))  # (B, 128, 3, 3)
        cells = self.map_out(seen.flatten(2).transpose(1, 2))  # (B, 9, E)
        there = (regions.abs().sum(2, keepdim=True) > 0).to(cells.dtype)
        named = self.region(regions) * there + self.order  # (B, R, E)
        base = self.base.expand(len(cells), -1, -1)
        return self.norm(torch.cat([base, cells, named], 1))


def _halving(before: int, width: int) -> list[nn.Module]:
    return [nn.Conv2d(before, width, 3, padding=1), nn.GELU(), nn.MaxPool2d(2)]


def region_figures(regions: Sequence[Region], size_hw: tuple[int, int], *, most: int) -> Tensor:
    """Regions as the prompt learner sees them: (most, 8), rows of zeros after the last."""
    height, width = size_hw
    rows = torch.zeros(most, REGION_FIGURES)
    for row, region in zip(rows, regions, strict=False):
        (x0, y0, x1, y1), (x, y) = region.box_xyxy, region.centre_xy
        shares = [x0 / width, y0 / height, x1 / width, y1 / height]
        size = (region.area_px / (height * width)) ** 0.5
        row[:] = torch.tensor([*shares, size, region.peak, x / width, y / height])
    return rows
