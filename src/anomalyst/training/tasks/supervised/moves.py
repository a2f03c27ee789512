"""How training pictures are moved: shifted, turned, mirrored. What they show stays what it is."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class MovesConfig:
    """What may be done to a training picture."""

    shift: float = 0.06  # most of the side, along each; 0: none
    turns: Literal["quarter", "free", "none"] = "quarter"  # 0, 90, 180, 270 degrees; up to +-90
    flip: bool = True  # half of them left to right

    def __post_init__(self) -> None:
        if not 0 <= self.shift <= 0.5:
            raise ValueError(f"shift is {self.shift}; a share of the side up to 0.5 is needed")

    @property
    def any(self) -> bool:
        """Whether anything is moved."""
        return bool(self.shift) or self.turns != "none" or self.flip


def draw_moves(count: int, size: int, config: MovesConfig, numbers: torch.Generator) -> Tensor:
    """Of each picture the affine map (count, 2, 3) from where it goes to where it comes from.

    In half sides from the middle. Shifts are whole pixels, so that all but free turns are exact.
    """
    drawn = torch.rand(count, 4, generator=numbers)
    angle = torch.zeros(count)
    if config.turns == "quarter":
        angle = (drawn[:, 0] * 4).floor() * (math.pi / 2)
    elif config.turns == "free":
        angle = (drawn[:, 0] - 0.5) * math.pi
    mirror = torch.where(drawn[:, 1] < 0.5, -1.0, 1.0) if config.flip else torch.ones(count)
    most = round(config.shift * size)
    shift = ((drawn[:, 2:] * (2 * most + 1)).floor() - most) * (2 / size)
    cos, sin = angle.cos(), angle.sin()
    first = torch.stack([cos * mirror, -sin, shift[:, 0]], 1)
    second = torch.stack([sin * mirror, cos, shift[:, 1]], 1)
    return torch.stack([first, second], 1)


def moved(pixels: Tensor, moves: Tensor) -> Tensor:
    """Float (B, C, S, S) moved; beyond its rim a picture goes on as its mirror image."""
    grid = F.affine_grid(moves, list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)
