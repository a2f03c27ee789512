"""ImageBind: six senses in one space (Girdhar et al., CVPR 2023), in any size.

Written from the paper and from what the published weights need, to give the published numbers.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from anomalyst.backbones.imagebind.config import ImageBindConfig, checked_modality
from anomalyst.backbones.imagebind.stems import TextStem
from anomalyst.backbones.imagebind.towers import Tower
from anomalyst.errors import AnomalystError
from anomalyst.types import Features

QUARTERS = 4  # AnomalyGPT reads the last block of each quarter: 7, 15, 23 and 31 of 32


class ImageBind(nn.Module):
    """A tower for each sense of the configuration, all into one space of unit vectors.

    Inputs (senses/imagebind_inputs.py makes them), S clips of one example in an axis of their own:
    image (B, 3, H, W) or (B, S, 3, H, W), film (B, S, 3, frames, H, W); audio (B, 1, mel, frames)
    or (B, S, 1, ...); depth and thermal (B, 1, H, W); imu (B, 6, steps); text (B, T) token numbers,
    or (B, S, T) several sentences about one thing.
    """

    def __init__(self, config: ImageBindConfig):
        super().__init__()
        self.config = config
        self.towers = nn.ModuleDict(
            {name: Tower(config.tower(name), config.embed_dim) for name in config.modalities}
        )

    def embed(self, modality: str, x: Tensor) -> Tensor:
        """Unit vectors (B, D); of several clips, their mean, unit length again.

        Raises AnomalystError for a sense that is not there, or a tensor of another shape.
        """
        tower = self.tower(modality)
        rows, clips = tower.examples(x, modality)
        vectors: Tensor = tower(rows)[0]
        if clips == 1:
            return vectors
        return F.normalize(vectors.unflatten(0, (-1, clips)).mean(1), dim=-1)

    def scaled(self, modality: str, x: Tensor) -> Tensor:
        """What the published model gives, (B, D): unit vectors times the sense's scale.

        Of several clips it is their mean, which is shorter. Raises as `embed`.
        """
        tower = self.tower(modality)
        rows, clips = tower.examples(x, modality)
        vectors: Tensor = tower(rows)[0] * tower.scale
        return vectors.unflatten(0, (-1, clips)).mean(1)

    def features(self, modality: str, x: Tensor, blocks: tuple[int, ...] | None = None) -> Features:
        """What some blocks (from 0) saw at each patch, as a memory bank takes it, and `embed`.

        Levels (B, width, h, w), raw block outputs without class token; a series has h = 1. None:
        the last block of each quarter. Raises AnomalystError for text, for several clips of one
        example (give them as examples of their own) and for a block that is not there.
        """
        tower = self.tower(modality)
        rows, _ = tower.examples(x, modality)
        if rows is not x or isinstance(tower.stem, TextStem):
            raise AnomalystError(
                f"{modality}: patches lie on the grid of one picture, sound or series; texts and "
                "several clips of one example have none."
            )
        chosen = self.blocks(modality, blocks)
        vectors, outputs = tower(rows, chosen)
        grid = tower.stem.grid(tuple(rows.shape))
        levels = [out[:, 1:].transpose(1, 2).unflatten(2, grid) for out in outputs]
        return Features(levels, vectors)

    def tower(self, modality: str) -> Tower:
        """The tower of a sense. AnomalystError for one that is not there, with the nearest."""
        self.config.tower(modality)
        tower = self.towers[checked_modality(modality)]
        assert isinstance(tower, Tower)
        return tower

    def blocks(self, modality: str, blocks: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """Blocks of a tower that `features` reads, from 0; None: the last one of each quarter.

        Raises AnomalystError for a block that is not there.
        """
        depth = self.config.tower(modality).depth
        if blocks is None:
            return tuple(
                sorted({max(1, depth * n // QUARTERS) - 1 for n in range(1, QUARTERS + 1)})
            )
        if not blocks or not all(0 <= block < depth for block in blocks):
            raise AnomalystError(
                f"blocks {list(blocks)}: the {modality} tower has blocks 0 to {depth - 1}."
            )
        return blocks
