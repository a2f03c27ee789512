"""The image tower as an encoder of pictures, for a memory bank on ImageBind's features."""

from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from anomalyst.backbones.base import Encoder
from anomalyst.backbones.huggingface_families import CLIP
from anomalyst.backbones.imagebind.config import GridConfig
from anomalyst.backbones.imagebind.loading import load
from anomalyst.errors import AnomalystError
from anomalyst.types import Features


class ImageBindEncoder(Encoder):
    """Levels are the last block of each quarter of the depth, as AnomalyGPT reads them."""

    mean: Tensor  # (1, 3, 1, 1)
    std: Tensor  # (1, 3, 1, 1)

    def __init__(self, folder: str):
        """Raises AnomalystError for a folder without an ImageBind with an image tower of ours."""
        super().__init__()
        self.model = load(Path(folder), "image")
        tower = self.model.config.image
        assert isinstance(tower, GridConfig)
        if tower.step != tower.patch or tower.channels != 3:
            raise AnomalystError(
                f"imagebind:{folder}: an encoder needs RGB patches that do not overlap; its image "
                f"tower has {tower.channels} channels and patches of {tower.patch} every "
                f"{tower.step} pixels."
            )
        self.name = f"imagebind:{folder}"
        self.multiple_px, self.side_px = tower.patch, tower.size_hw[0]
        for name, values in zip(("mean", "std"), CLIP, strict=True):
            table = torch.tensor(values).reshape(1, 3, 1, 1)
            self.register_buffer(name, table, persistent=False)

    def train(self, mode: bool = True) -> Self:
        """Stay as it is: a frozen encoder skips no blocks."""
        del mode
        return super().train(False)

    def forward(self, pixels: Tensor) -> Features:
        """(B, 3, H, W) in [0, 1], sides multiples of `multiple_px` -> four levels and (B, D)."""
        return self.model.features("image", (pixels - self.mean) / self.std)
