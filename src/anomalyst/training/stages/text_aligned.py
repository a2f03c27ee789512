"""The text-aligned stage: sound or damaged, told from one picture, on the procedural world."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from anomalyst.detection.losses import dice_loss, focal_loss
from anomalyst.detection.text_aligned import TextAlignedDecoder
from anomalyst.encoders import load_encoder
from anomalyst.synthesis.world import WorldConfig, make_episode
from anomalyst.training.checkpoint import write_weights
from anomalyst.training.course import Course, Share, made_ahead
from anomalyst.training.procedural import HELD_OUT
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


class TextAlignedCourse(Course):
    """Pictures of drawn parts with their masks; the good pictures are not looked at."""

    def __init__(self, recipe: TextAlignedRecipe, out: Path):
        self.recipe, self.out = recipe, out
        self.encoder = load_encoder(recipe.encoder)
        with torch.inference_mode():
            probe = self.encoder(torch.zeros(1, 3, recipe.world.size_px, recipe.world.size_px))
        self.widths = [level.shape[1] for level in probe.levels]
        self.decoder = TextAlignedDecoder(self.widths, recipe.width)
        self.module: nn.Module = self.decoder

    def batches(self, first_step: int, share: Share) -> Iterator[tuple[Tensor, Tensor]]:
        """Pixels (B, 3, S, S) in [0, 1] and masks (B, 1, S, S)."""
        steps = range(first_step, self.recipe.steps)
        make = partial(_drawn, self.recipe, share.of)
        return made_ahead(make, steps, share, self.recipe.workers)

    def held_out(self, share: Share, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Pictures of other seeds."""
        other = replace(self.recipe, seed=self.recipe.seed + HELD_OUT)
        return made_ahead(partial(_drawn, other, share.of), range(count), share, 0)

    def amount(self, batch: tuple[Tensor, Tensor]) -> dict[str, int]:
        """Pictures count."""
        return {"samples": len(batch[0])}

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

    def ship(self, average: Mapping[str, Tensor]) -> Path:
        """text_aligned.safetensors, as `detection.text_aligned` reads it."""
        path = self.out / "text_aligned.safetensors"
        note = {"level_widths": self.widths, "width": self.recipe.width}
        write_weights(path, {f"text_aligned.{k}": v for k, v in average.items()}, note)
        return path


def _drawn(recipe: TextAlignedRecipe, parts: int, step: int, part: int) -> tuple[Tensor, Tensor]:
    """The pictures of a part of a step."""
    count = recipe.batch // parts
    places = range(part * count, (part + 1) * count)
    drawn = [make_episode((recipe.seed, step, i), recipe.world) for i in places]
    pixels = torch.from_numpy(np.stack([e.query for e in drawn])).permute(0, 3, 1, 2)
    masks = torch.from_numpy(np.stack([e.mask for e in drawn]))[:, None]
    return pixels.float() / 255, masks.float()
