"""What a sense gives -> tokens (B, T, D) with a class token first and positions added."""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anomalyst.backbones.imagebind.config import GridConfig, SeriesConfig, TextConfig
from anomalyst.errors import AnomalystError


def sincos_positions(grid: tuple[int, int], width: int) -> Tensor:
    """Positions that are not learned, (1, 1 + N, D): rows in one half of D, columns in the other.

    Sines and cosines of falling frequency (Vaswani et al. 2017, section 3.5) on both axes; the
    class token, which lies nowhere, has zeros.
    """
    rates = 10_000 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    halves = []
    for axis, count in enumerate(grid):
        angle = torch.arange(count, dtype=torch.float64)[:, None] * rates  # (count, D / 4)
        wave = torch.cat([angle.sin(), angle.cos()], 1)  # (count, D / 2)
        halves.append(wave[:, None] if axis == 0 else wave[None])
    rows, columns = (half.expand(*grid, -1) for half in halves)
    table = torch.cat([rows, columns], 2).flatten(0, 1)  # (N, D)
    return torch.cat([torch.zeros(1, width), table.float()])[None]


class GridStem(nn.Module):
    """Patches of a picture, film, spectrogram, depth or heat."""

    def __init__(self, config: GridConfig):
        super().__init__()
        self.config = config
        width, side = config.width, config.patch
        shape = (width, config.channels, config.frames, side, side)
        self.patches = nn.Parameter(
            torch.empty(shape if config.frames > 1 else (*shape[:2], side, side))
        )
        self.patch_norm = nn.LayerNorm(width) if config.patch_norm else None
        self.class_token = nn.Parameter(torch.randn(1, 1, width) * width**-0.5)
        rows, columns = config.grid(config.size_hw)
        if config.positions == "learned":
            table = torch.randn(1, 1 + rows * columns, width) * width**-0.5
            self.positions = nn.Parameter(table)
        else:
            self.register_buffer("positions", sincos_positions((rows, columns), width))
        nn.init.kaiming_uniform_(self.patches, a=5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W), or a film (B, C, frames, H, W) -> (B, 1 + N, D)."""
        step = self.config.step
        if x.ndim == 5:
            tokens = F.conv3d(x, self.patches, stride=(self.config.frames, step, step)).squeeze(2)
        else:
            # A picture is a film that stands still: its kernel is the film's, summed over time.
            kernel = self.patches.sum(2) if self.patches.ndim == 5 else self.patches
            tokens = F.conv2d(x, kernel, stride=step)  # (B, D, h, w)
        grid = (tokens.shape[2], tokens.shape[3])
        tokens = tokens.flatten(2).transpose(1, 2)  # (B, N, D)
        if self.patch_norm is not None:
            tokens = self.patch_norm(tokens)
        tokens = torch.cat([self.class_token.expand(len(x), -1, -1), tokens], 1)
        return tokens + self._positions_on(grid)

    def _positions_on(self, grid: tuple[int, int]) -> Tensor:
        """The positions, laid bicubically over a grid of another size if need be."""
        own = self.config.grid(self.config.size_hw)
        positions = cast(Tensor, self.positions)
        if grid == own:
            return positions
        table = positions[:, 1:].transpose(1, 2).unflatten(2, own).float()  # (1, D, h, w)
        laid = F.interpolate(table, size=grid, mode="bicubic").to(positions.dtype)
        return torch.cat([positions[:, :1], laid.flatten(2).transpose(1, 2)], 1)

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether one example has this shape: a spectrogram's size is fixed, a picture's is not."""
        config = self.config
        film = len(shape) == 4 and config.frames > 1 and shape[1] == config.frames
        if shape[0] != config.channels or not (len(shape) == 3 or film):
            return False
        size_hw = (shape[-2], shape[-1])
        if size_hw == config.size_hw:
            return True
        square = config.size_hw[0] == config.size_hw[1] and config.step == config.patch
        return square and all(side and side % config.patch == 0 for side in size_hw)

    @property
    def wanted(self) -> str:
        """The shape of one example, for a sentence."""
        config = self.config
        sides = f"{config.size_hw[0]}, {config.size_hw[1]})"
        film = f" or ({config.channels}, {config.frames}, {sides}" if config.frames > 1 else ""
        return f"({config.channels}, {sides}{film}"

    def grid(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Rows and columns of the patches of an example."""
        return self.config.grid((shape[-2], shape[-1]))


class SeriesStem(nn.Module):
    """Some steps of all channels are a token."""

    def __init__(self, config: SeriesConfig):
        super().__init__()
        self.config = config
        width, count = config.width, config.steps // config.kernel
        self.patches = nn.Linear(config.channels * config.kernel, width, bias=False)
        self.patch_norm = nn.LayerNorm(width)
        self.class_token = nn.Parameter(torch.randn(1, 1, width) * width**-0.5)
        self.positions = nn.Parameter(torch.randn(1, 1 + count, width) * 0.01)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, steps) -> (B, 1 + N, D)."""
        kernel = self.config.kernel
        count = x.shape[2] // kernel
        windows = x[..., : count * kernel].unflatten(2, (count, kernel))  # (B, C, N, kernel)
        tokens = self.patch_norm(self.patches(windows.transpose(1, 2).flatten(2)))  # (B, N, D)
        tokens = torch.cat([self.class_token.expand(len(x), -1, -1), tokens], 1)
        return tokens + self.positions

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether one example has this shape."""
        return shape == (self.config.channels, self.config.steps)

    @property
    def wanted(self) -> str:
        """The shape of one example, for a sentence."""
        return f"({self.config.channels}, {self.config.steps})"

    def grid(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """One row of windows."""
        return 1, shape[-1] // self.config.kernel


class TextStem(nn.Module):
    """Token numbers, embedded."""

    def __init__(self, config: TextConfig):
        super().__init__()
        self.config = config
        self.words = nn.Embedding(config.vocabulary, config.width)
        self.positions = nn.Parameter(torch.randn(1, config.tokens, config.width) * 0.01)
        nn.init.normal_(self.words.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T) -> (B, T, D)."""
        embedded: Tensor = self.words(x) + self.positions[:, : x.shape[1]]
        return embedded

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether one example has this shape; a shorter text needs no padding."""
        return len(shape) == 1 and 1 <= shape[0] <= self.config.tokens

    @property
    def wanted(self) -> str:
        """The shape of one example, for a sentence."""
        return f"(up to {self.config.tokens} token numbers)"

    def ends(self, x: Tensor) -> Tensor:
        """Where each text of (B, T) ends, (B,): at its first end token.

        Raises AnomalystError for a number outside the vocabulary, or a text without an end.
        """
        last = self.config.vocabulary - 1
        if x.is_floating_point() or int(x.min()) < 0 or int(x.max()) > last:
            raise AnomalystError(
                f"text: token numbers from 0 to {last} are needed; others are given."
            )
        if self.config.end_token is None:
            return x.argmax(1)
        found = x == self.config.end_token
        if not found.any(1).all():
            raise AnomalystError(
                f"text: a text has no end token ({self.config.end_token}); cut it before its end "
                "token, not behind it."
            )
        return found.int().argmax(1)
