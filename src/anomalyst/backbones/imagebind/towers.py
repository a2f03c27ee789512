"""One sense's way into the common space: stem, trunk, head, unit length, temperature."""

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anomalyst.backbones.imagebind.config import (
    LARGEST_SCALE,
    GridConfig,
    SeriesConfig,
    TextConfig,
    TowerConfig,
)
from anomalyst.backbones.imagebind.stems import GridStem, SeriesStem, TextStem
from anomalyst.backbones.imagebind.transformer import EPSILON, Trunk
from anomalyst.errors import AnomalystError


class Tower(nn.Module):
    """Examples of one sense -> unit vectors, and what its blocks saw on the way."""

    def __init__(self, config: TowerConfig, embed_dim: int):
        super().__init__()
        self.stem = _stem_of(config)
        self.trunk = Trunk(config, causal=isinstance(config, TextConfig))
        self.head_norm = nn.LayerNorm(config.width, EPSILON)
        self.head_dropout = nn.Dropout(config.head_dropout)
        self.head = nn.Linear(config.width, embed_dim, bias=False)
        if config.scale is None:
            self.log_scale = None
        elif config.scale_learned:
            self.log_scale = nn.Parameter(torch.tensor(math.log(config.scale)))
        else:
            self.register_buffer("log_scale", torch.tensor(math.log(config.scale)))

    @property
    def scale(self) -> Tensor:
        """What the published model multiplies the unit vectors with: a number, 1 for images."""
        if self.log_scale is None:
            return torch.ones((), device=self.head.weight.device)
        return cast(Tensor, self.log_scale).exp().clamp(max=LARGEST_SCALE)

    def forward(self, x: Tensor, blocks: tuple[int, ...] = ()) -> tuple[Tensor, list[Tensor]]:
        """Examples -> unit vectors (B, D), and the outputs (B, T, width) of `blocks`."""
        # The class token stands for all but a text, for which its end does.
        place = self.stem.ends(x) if isinstance(self.stem, TextStem) else 0
        last, outputs = self.trunk(self.stem(x), blocks)
        said = last[torch.arange(len(x), device=x.device), place]  # (B, width)
        vectors = self.head(self.head_dropout(self.head_norm(said)))
        return F.normalize(vectors, dim=-1), outputs

    def examples(self, x: Tensor, modality: str) -> tuple[Tensor, int]:
        """One example a row, and how many rows, its clips, belong together.

        Raises AnomalystError for another shape.
        """
        for clips in (0, 1):
            if x.ndim > 1 + clips and self.stem.fits(tuple(x.shape[1 + clips :])):
                return (x.flatten(0, 1), x.shape[1]) if clips else (x, 1)
        raise AnomalystError(
            f"{modality}: a tensor of shape {tuple(x.shape)} is given; a batch of "
            f"{self.stem.wanted} is needed, or of several clips of that each."
        )


def _stem_of(config: TowerConfig) -> GridStem | SeriesStem | TextStem:
    if isinstance(config, GridConfig):
        return GridStem(config)
    if isinstance(config, SeriesConfig):
        return SeriesStem(config)
    assert isinstance(config, TextConfig)
    return TextStem(config)
