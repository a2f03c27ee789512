"""Any vision backbone of Hugging Face as the trunk of the embedded encoder.

With a DINOv2 on disk the pair decoder works on it, and not the memory bank alone:
`anomalyst train recipes/embedded.yaml encoder.trunk=hf:./dinov2-small --out runs/dino`.
"""

from collections.abc import Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anomalyst.backbones.huggingface import HubEncoder, HubEncoderConfig

STRIDES = (4, 8, 16)
T = TypeVar("T")


class HubTrunk(nn.Module):
    """Pictures (B, 3, H, W) in [0, 1], sides in 16ths -> strides 4, 8 and 16 with `channels`.

    A vision transformer sees them at one patch for 16 pixels, and its blocks from half the depth on
    are the three levels, grown; a CNN's stages 2 and 3 are grown likewise where they are coarser.
    Frozen; its weights stay where they are and are not shipped with what is trained on it.
    """

    spreads = (1.0, 1.0)  # each level is brought to unit variance

    def __init__(self, spec: str):
        """`spec`: hf:NAME_OR_DIR. Raises AnomalystError as `HubEncoder` does."""
        super().__init__()
        self.hub = HubEncoder(HubEncoderConfig(source=spec.removeprefix("hf:")))
        cell = self.hub.multiple_px
        with torch.inference_mode():
            widths = [f.shape[1] for f in self.hub(torch.zeros(1, 3, 2 * cell, 2 * cell)).levels]
        self.channels = tuple(_three(widths))

    def train(self, mode: bool = True) -> "HubTrunk":
        """Stays in evaluation mode."""
        del mode
        return super().train(False)

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in [0, 1] -> three levels, the finest first."""
        cells = [side // 16 for side in pixels.shape[-2:]]
        cell = self.hub.multiple_px if self.hub.family.tokens else 16
        sides = [
            max(1, round(n * cell / self.hub.multiple_px)) * self.hub.multiple_px for n in cells
        ]
        seen = self.hub(_resized(pixels.float(), sides)).levels
        found = []
        for level, stride in zip(_three(seen), STRIDES, strict=True):
            grid = [side // stride for side in pixels.shape[-2:]]
            unit = level / level.std((1, 2, 3), keepdim=True).clamp(min=1e-6)
            found.append(_resized(unit, grid).to(pixels.dtype))
        return found


def _three(levels: Sequence[T]) -> list[T]:
    """Of one to any number of levels: the first, a middle and the last."""
    return [levels[0], levels[(len(levels) - 1) // 2], levels[-1]]


def _resized(x: Tensor, size_hw: list[int]) -> Tensor:
    if list(x.shape[-2:]) == size_hw:
        return x
    return F.interpolate(x, size_hw, mode="bilinear", align_corners=False, antialias=True)
