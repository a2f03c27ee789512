"""Clicks, boxes, masks and words -> tokens and a field that are added to a picture's embedding.

Kirillov et al., Segment Anything, ICCV 2023 (arXiv:2304.02643), section 3 and appendix A; places
by random spatial frequencies (Tancik et al., NeurIPS 2020).
"""

from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor, nn

BESIDE, ON, CORNER, OTHER_CORNER, NOTHING = range(5)  # what a place is
PAINTED = 3  # channels beside the mask: clicks on the thing, clicks beside it, the box
REACH = 0.02  # of a painted click, as a share of the view's side


@dataclass(frozen=True, slots=True)
class PromptTokens:
    """Prompts as tensors: P of them, each with the same number of places."""

    places_xy: Tensor  # (P, T, 2) as shares of the view, [0, 1]
    kinds: Tensor  # (P, T) int64: BESIDE, ON, CORNER, OTHER_CORNER or NOTHING
    mask: Tensor | None = None  # (P, 1, 4 h, 4 w) logits of what is known so far; h, w the grid's
    words: Tensor | None = None  # (P, W) of a text tower


class Positions(nn.Module):
    """Places in [0, 1] -> sines and cosines of random frequencies; not trained."""

    frequencies: Tensor

    def __init__(self, width: int):
        super().__init__()
        # As they ship, in bfloat16: what was trained with others would see places moved.
        drawn = torch.randn(2, width // 2).bfloat16().float()
        self.register_buffer("frequencies", drawn)

    def forward(self, places_xy: Tensor) -> Tensor:
        """(..., 2) -> (..., C)."""
        turns = 2 * pi * ((2 * places_xy - 1) @ self.frequencies.to(places_xy.dtype))
        return torch.cat([turns.sin(), turns.cos()], -1)

    def grid(self, height: int, width: int) -> Tensor:
        """Of the cells' centres of a grid, (1, C, h, w)."""
        device = self.frequencies.device
        y = (torch.arange(height, device=device) + 0.5) / height
        x = (torch.arange(width, device=device) + 0.5) / width
        rows, columns = torch.meshgrid(y, x, indexing="ij")
        return self(torch.stack([columns, rows], -1)).permute(2, 0, 1)[None]


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (B, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Retouch(nn.Module):
    """What is painted, at the masks' own resolution: what is known stays crisp where it is right.

    Not in the paper, whose prompts reach the masks by way of the coarse embedding alone.
    """

    HIDDEN = 16

    def __init__(self, width: int):
        super().__init__()
        self.near = nn.Sequential(nn.Conv2d(1 + PAINTED, self.HIDDEN, 3, 1, 1), nn.GELU())
        self.four_times = nn.Conv2d(self.HIDDEN, width // 8, 1)
        self.twice = nn.Conv2d(self.HIDDEN, width // 4, 2, 2)
        for layer in (self.four_times, self.twice):  # begins by adding nothing
            nn.init.zeros_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, painted: Tensor) -> list[Tensor]:
        """(P, 4, 4 h, 4 w) -> (P, C / 4, 2 h, 2 w), (P, C / 8, 4 h, 4 w)."""
        near = self.near(painted)
        return [self.twice(near), self.four_times(near)]


class PromptEncoder(nn.Module):
    """Prompts -> tokens (P, T, C) and a dense field (P, C, h, w).

    `painted`: clicks and boxes are painted beside the mask as well, as in Sofiiuk et al., Reviving
    Iterative Training with Mask Guidance (ICIP 2022), section 3.2: where a place is need not be
    learnt from its token alone, which takes far fewer steps.
    """

    def __init__(
        self, width: int, mask_channels: int = 16, words: int = 0, *, painted: bool = False
    ):
        super().__init__()
        self.painted = painted
        self.retouch = Retouch(width) if painted else None
        self.positions = Positions(width)
        self.kinds = nn.Embedding(4, width)
        self.nothing = nn.Embedding(1, width)
        self.no_mask = nn.Embedding(1, width)
        few = mask_channels // 4
        self.mask = nn.Sequential(
            nn.Conv2d(1 + PAINTED * painted, few, 2, 2),
            ChannelNorm(few, eps=1e-6),
            nn.GELU(),
            nn.Conv2d(few, mask_channels, 2, 2),
            ChannelNorm(mask_channels, eps=1e-6),
            nn.GELU(),
            nn.Conv2d(mask_channels, width, 1),
        )
        # CLIP's text tower in the paper; any whose vectors are of one width here.
        self.words = nn.Linear(words, width) if words else None

    def forward(self, prompts: PromptTokens, grid_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Tokens (P, T, C), words as one more, and the field (P, C, h, w)."""
        nothing = (prompts.kinds == NOTHING)[..., None]
        known = self.kinds(prompts.kinds.clamp(max=OTHER_CORNER))
        placed = self.positions(prompts.places_xy) + known
        tokens = torch.where(nothing, self.nothing.weight, placed)
        if prompts.words is not None:
            assert self.words is not None, "this prompt encoder has learnt no words"
            tokens = torch.cat([tokens, self.words(prompts.words)[:, None]], 1)
        nowhere = self.no_mask.weight[:, :, None, None]
        if self.painted:
            field = self.mask(self.paint(prompts, grid_hw))
            return tokens, field if prompts.mask is not None else field + nowhere
        if prompts.mask is not None:
            return tokens, self.mask(prompts.mask)
        return tokens, nowhere.expand(len(tokens), -1, *grid_hw)

    def paint(self, prompts: PromptTokens, grid_hw: tuple[int, int]) -> Tensor:
        """The mask so far, clicks on and beside the thing, and the box: (P, 4, 4 h, 4 w)."""
        places = self._cells((4 * grid_hw[0], 4 * grid_hw[1]))  # (4 h, 4 w, 2)
        # A round spot is a product of one along each side: far fewer exponentials.
        x, y = (
            torch.exp(-(prompts.places_xy[..., axis, None] - along).square() / (2 * REACH**2))
            for axis, along in enumerate((places[0, :, 0], places[:, 0, 1]))
        )  # (P, T, 4 w), (P, T, 4 h)
        on, beside = (
            (y[..., None] * (x * (prompts.kinds == kind)[..., None])[:, :, None]).amax(1)
            for kind in (ON, BESIDE)
        )
        first, last = (
            (prompts.places_xy * (prompts.kinds == kind)[..., None]).sum(1)[:, None, None]
            for kind in (CORNER, OTHER_CORNER)
        )
        box = ((places >= first) & (places < last)).all(-1).to(on.dtype)
        mask = torch.zeros_like(on) if prompts.mask is None else prompts.mask[:, 0].to(on.dtype)
        return torch.stack([mask / 4, on * 2, beside * 2, box], 1)

    def _cells(self, cells_hw: tuple[int, int]) -> Tensor:
        device = self.positions.frequencies.device
        y, x = ((torch.arange(n, device=device) + 0.5) / n for n in cells_hw)
        return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
