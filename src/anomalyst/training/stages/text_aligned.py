"""The text-aligned stage: sound or damaged, told from one picture, on the procedural world."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from anomalyst.detection.losses import dice_loss, focal_loss
from anomalyst.detection.text_aligned import TextAlignedDecoder
from anomalyst.encoders import load_encoder
from anomalyst.synthesis.world import WorldConfig, make_episode
from anomalyst.training.checkpoint import write_weights
from anomalyst.training.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class TextAlignedRecipe(Recipe):
    """Linear layers and two learned states on a frozen encoder; `batch` counts pictures."""

    stage: Literal["text_aligned"] = "text_aligned"
    encoder: str = "embedded"
    width: int = 64  # of the space that levels and states share
    world: WorldConfig = field(
        default_factory=lambda: WorldConfig(size_px=160, references=(1, 1), anomalous_share=0.8)
    )


class TextAlignedCourse:
    """Pictures of drawn parts with their masks; the good pictures are not looked at."""

    def __init__(self, recipe: TextAlignedRecipe, out: Path):
        self.recipe, self.out = recipe, out
        self.encoder = load_encoder(recipe.encoder)
        with torch.inference_mode():
            probe = self.encoder(torch.zeros(1, 3, recipe.world.size_px, recipe.world.size_px))
        self.widths = [level.shape[1] for level in probe.levels]
        self.decoder = TextAlignedDecoder(self.widths, recipe.width)
        self.module: nn.Module = self.decoder

    def batches(self, first_step: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Pixels (B, 3, S, S) in [0, 1] and masks (B, 1, S, S), a function of the step."""
        yield from DataLoader(
            _Drawn(self.recipe, first_step),
            batch_size=None,
            num_workers=self.recipe.workers,
            prefetch_factor=4 if self.recipe.workers else None,
        )

    def loss(
        self, batch: tuple[Tensor, Tensor], device: torch.device
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Focal and dice, of every level and so of their mean."""
        pixels, mask = (part.to(device) for part in batch)
        with torch.no_grad():
            features = self.encoder.to(device)(pixels)
            features.levels[:] = [level.float() for level in features.levels]
        levels = self.decoder.level_logits(features, (mask.shape[-2], mask.shape[-1]))
        focal = torch.stack([focal_loss(x.float(), mask) for x in levels]).mean()
        dice = torch.stack([dice_loss(x.float(), mask) for x in levels]).mean()
        return focal * 4 + dice, {"focal": focal, "dice": dice}

    def ship(self, average: dict[str, Tensor]) -> Path:
        """text_aligned.safetensors, as `detection.text_aligned` reads it."""
        path = self.out / "text_aligned.safetensors"
        note = {"level_widths": self.widths, "width": self.recipe.width}
        write_weights(path, {f"text_aligned.{k}": v for k, v in average.items()}, note)
        return path

    def finish(self, weights: Path) -> None:
        """Nothing remains."""


class _Drawn(Dataset[tuple[Tensor, Tensor]]):
    """Item i: the pictures of step `first + i`."""

    def __init__(self, recipe: TextAlignedRecipe, first: int):
        self.recipe, self.first = recipe, first

    def __len__(self) -> int:
        return self.recipe.steps - self.first

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        cv2.setNumThreads(0)
        step, recipe = self.first + index, self.recipe
        drawn = [make_episode((recipe.seed, step, i), recipe.world) for i in range(recipe.batch)]
        pixels = torch.from_numpy(np.stack([e.query for e in drawn])).permute(0, 3, 1, 2)
        masks = torch.from_numpy(np.stack([e.mask for e in drawn]))[:, None]
        return pixels.float() / 255, masks.float()
