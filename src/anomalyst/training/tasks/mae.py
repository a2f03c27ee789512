"""The mae task: a vision transformer learns from pictures alone, three quarters of each hidden.

He et al., Masked Autoencoders Are Scalable Vision Learners, CVPR 2022 (arXiv:2111.06377), section
3: the encoder sees only the patches that are left; mask tokens join it in a small decoder, which
draws the hidden ones and is thrown away.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anomalyst.segmentation.network import Block, SegmentConfig, VitImageEncoder, sines
from anomalyst.training.checkpoint import write_weights
from anomalyst.training.data.views import ViewConfig, draw_view
from anomalyst.training.recipe import Recipe
from anomalyst.training.task import Share, Task, prefetched

PATCH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class MaeRecipe(Recipe):
    """The masked autoencoder; `batch` counts views."""

    task: Literal["mae"] = "mae"
    hidden_share: float = 0.75  # of the patches
    decoder_width: int = 96
    decoder_layers: int = 2
    views: ViewConfig = field(default_factory=ViewConfig)
    model: SegmentConfig = field(default_factory=lambda: SegmentConfig(image="vit"))

    def __post_init__(self) -> None:
        if self.model.image != "vit":
            raise ValueError(f"model.image is {self.model.image}; only vit is trained here")
        if not 0 < self.hidden_share < 1:
            raise ValueError(f"hidden_share is {self.hidden_share}; between 0 and 1")


class MaskedAutoencoder(nn.Module):
    """The encoder that a segmenter begins with, and the decoder that is thrown away."""

    def __init__(self, recipe: MaeRecipe):
        super().__init__()
        vit, narrow = recipe.model.vit, recipe.decoder_width
        self.encoder = VitImageEncoder(recipe.model)
        del self.encoder.wider, self.encoder.joined  # the segmenter's
        self.entered = nn.Linear(vit.width, narrow)
        self.missing = nn.Parameter(torch.randn(1, 1, narrow) * 0.02)
        self.blocks = nn.ModuleList(Block(narrow, 4) for _ in range(recipe.decoder_layers))
        self.norm = nn.LayerNorm(narrow)
        self.drawn = nn.Linear(narrow, PATCH * PATCH * 3)

    def forward(self, pixels: Tensor, order: Tensor, shown: int) -> Tensor:
        """Every patch drawn, (B, N, 768), from the first `shown` of its `order` (B, N) alone."""
        grid_hw = pixels.shape[2] // PATCH, pixels.shape[3] // PATCH
        tokens = self.encoder.tokens(pixels)
        kept = order[:, :shown, None]
        seen = self.encoder.seen(tokens.gather(1, kept.expand(-1, -1, tokens.shape[2])))
        known = self.entered(seen)  # (B, shown, narrow)
        width, count = known.shape[2], order.shape[1]
        missing = self.missing.to(known).expand(len(known), count - shown, -1)
        shuffled = torch.cat([known, missing], 1)
        back = order.argsort(1)[..., None].expand(-1, -1, width)
        whole = shuffled.gather(1, back)
        whole = whole + sines(width, *grid_hw).to(whole).flatten(2).transpose(1, 2)
        for block in self.blocks:
            whole = block(whole)
        return self.drawn(self.norm(whole))


class MaeTask(Task):
    """Views without their masks."""

    def __init__(self, recipe: MaeRecipe, out: Path):
        self.recipe, self.out = recipe, out
        self.network = MaskedAutoencoder(recipe)
        self.module: nn.Module = self.network

    def batches(self, first_step: int, share: Share) -> Iterator[dict[str, Any]]:
        """Views of every step, drawn in worker processes."""
        make = partial(self._micro_batch, share.of)
        yield from prefetched(
            make, range(first_step, self.recipe.steps), share, self.recipe.workers
        )

    def _micro_batch(self, parts: int, step: int, part: int) -> dict[str, Any]:
        recipe = self.recipe
        view_hw = recipe.views.views_hw[step % len(recipe.views.views_hw)]
        numbers = range(part, recipe.batch, parts)
        drawn = [
            draw_view((recipe.seed, step, n), recipe.views, view_hw, 1, named=False).pixels
            for n in numbers
        ]
        return {"pixels": torch.from_numpy(np.stack(drawn))}

    def amount(self, batch: dict[str, Any]) -> dict[str, int]:
        """Views count."""
        return {"samples": len(batch["pixels"])}

    def loss(self, batch: dict[str, Any], device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean squared error of the hidden patches, each brought to mean 0 and variance 1."""
        pixels = batch["pixels"].to(device).permute(0, 3, 1, 2).float() / 255
        count = pixels.shape[2] * pixels.shape[3] // PATCH**2
        shown = round(count * (1 - self.recipe.hidden_share))
        order = torch.rand(len(pixels), count, device=device).argsort(1)
        drawn = self.network(pixels, order, shown).float()
        return masked_error(drawn, normed_patches(pixels), order[:, shown:]), {}

    def ship(self, average: Mapping[str, Tensor]) -> Path:
        """mae.safetensors: the encoder under `mae.encoder.`, which a segmenter begins with."""
        path = self.out / "mae.safetensors"
        tensors = {f"mae.{name}": value for name, value in average.items()}
        write_weights(path, tensors, {"model": asdict(self.recipe.model)})
        return path


def normed_patches(pixels: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, N, 768): each patch less its mean, over its deviation; rows first."""
    patches = F.unfold(pixels, PATCH, stride=PATCH).transpose(1, 2)
    mean, variance = patches.mean(2, keepdim=True), patches.var(2, keepdim=True)
    return (patches - mean) / (variance + 1e-6).sqrt()


def masked_error(drawn: Tensor, wanted: Tensor, hidden: Tensor) -> Tensor:
    """Mean squared error (B, N, D) of the hidden patches (B, n) alone."""
    error = (drawn - wanted).square().mean(2)  # (B, N)
    return error.gather(1, hidden).mean()
