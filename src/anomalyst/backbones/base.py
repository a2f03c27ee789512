"""What every encoder promises: pixels go in, patch features and one embedding come out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anomalyst.types import Features


def neighbourhood_mean(level: Tensor) -> Tensor:
    """Each place becomes the mean of its 3 x 3 neighbourhood, (B, D, h, w) -> the same.

    Neighbourhoods are compared with less noise than single patches (PatchCore, section 3.1).
    """
    return F.avg_pool2d(level, 3, 1, 1, count_include_pad=False)


class Encoder(nn.Module, ABC):
    """A network that turns pictures into `Features`; it normalises the pixels by itself."""

    name: str  # as a user writes it: "embedded", "hf:facebook/dinov2-small"
    multiple_px: int  # both sides of the canvas must be multiples of it
    side_px: int  # working side of a square canvas, if the user names none

    @abstractmethod
    def forward(self, pixels: Tensor) -> Features:
        """(B, 3, H, W) float RGB in [0, 1] -> levels from fine to coarse, and (B, D)."""


def to_pixels(pictures: Sequence[np.ndarray]) -> Tensor:
    """Pictures of one size, uint8 RGB (H, W, 3) each -> (B, 3, H, W) float32 in [0, 1]."""
    stacked = torch.from_numpy(np.stack(pictures))  # (B, H, W, 3)
    assert stacked.dtype == torch.uint8 and stacked.shape[3] == 3, (stacked.dtype, stacked.shape)
    pixels = stacked.permute(0, 3, 1, 2).contiguous()  # (B, 3, H, W)
    return pixels.to(torch.float32) / 255
