"""Segment Anything in a small form: a view is encoded once, each prompt then costs little.

Kirillov et al., ICCV 2023 (arXiv:2304.02643). Two image encoders: `embedded`, the detector's own,
frozen, with a few blocks of attention above it; `vit`, a plain vision transformer that may begin
as a masked autoencoder (He et al., CVPR 2022; recipes/mae.yaml).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anomalyst.backbones.embedded import EmbeddedConfig, EmbeddedEncoder
from anomalyst.segmentation.mask_decoder import MaskDecoder
from anomalyst.segmentation.prompt_encoder import PromptEncoder, PromptTokens

TEXT_WIDTH = 128  # of the shipped text tower's vectors (backbones/drawn_senses.py)


@dataclass(frozen=True, slots=True, kw_only=True)
class VitConfig:
    """A plain vision transformer, patches of 16 pixels."""

    width: int = 192
    layers: int = 6
    heads: int = 6
    side_px: int = 256  # of views it is meant for; weights name it, positions fit any side


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentConfig:
    """What a segmenter is made of."""

    image: Literal["embedded", "vit"] = "embedded"
    width: int = 96  # C of the embedding that prompts meet
    blocks: int = 2  # of attention above the embedded encoder's coarsest level
    heads: int = 4
    hidden: int = 384  # of the tokens' perceptrons
    painted: bool = True  # clicks and boxes as pictures, too; false: tokens alone, as SAM's
    vit: VitConfig = field(default_factory=VitConfig)

    def __post_init__(self) -> None:
        if self.width % (8 * self.heads):
            raise ValueError(f"width is {self.width}; a multiple of 8 heads, {8 * self.heads}")


@dataclass(frozen=True, slots=True)
class Encoded:
    """B views, ready for prompts."""

    embedding: Tensor  # (B, C, h, w)
    finer: list[Tensor]  # (B, C / 4, 2 h, 2 w), (B, C / 8, 4 h, 4 w)

    @property
    def grid_hw(self) -> tuple[int, int]:
        """Cells of the embedding."""
        return self.embedding.shape[2], self.embedding.shape[3]

    def rows(self, index: Tensor) -> "Encoded":
        """One view for each prompt: `index` (P,) says which."""
        return Encoded(self.embedding[index], [one[index] for one in self.finer])


class SegmentNetwork(nn.Module):
    """View -> embedding; embedding and prompts -> masks."""

    def __init__(self, config: SegmentConfig, words: int = TEXT_WIDTH):
        super().__init__()
        self.config = config
        width = config.width
        self.image: nn.Module = (
            FrozenImageEncoder(config) if config.image == "embedded" else VitImageEncoder(config)
        )
        self.pixels = Pixels(width)
        self.prompts = PromptEncoder(width, words=words, painted=config.painted)
        self.decoder = MaskDecoder(width, config.heads, config.hidden)

    def encode(self, pixels: Tensor) -> Encoded:
        """(B, 3, H, W) in [0, 1], sides in 16ths -> what prompts meet."""
        embedding, fine = self.image(pixels)
        four, two = self.pixels(pixels)
        return Encoded(embedding, [four if fine is None else four + fine, two])

    def decode(self, seen: Encoded, prompts: PromptTokens) -> tuple[Tensor, Tensor]:
        """Masks (P, 4, H / 2, W / 2) as logits and predicted IoU (P, 4); `seen` has P rows.

        The first is the answer to a prompt that means one thing, the others to one that may not.
        """
        tokens, dense = self.prompts(prompts, seen.grid_hw)
        places = self.prompts.positions.grid(*seen.grid_hw)
        finer = seen.finer
        if self.prompts.retouch is not None:
            painted = self.prompts.retouch(self.prompts.paint(prompts, seen.grid_hw))
            finer = [one + more for one, more in zip(finer, painted, strict=True)]
        return self.decoder(seen.embedding, places, tokens, dense, finer)


class Pixels(nn.Module):
    """Edges as the picture itself shows them, at strides 4 and 2."""

    def __init__(self, width: int):
        super().__init__()
        fine = width // 8
        self.two = nn.Sequential(nn.Conv2d(3, fine, 3, 2, 1), nn.GELU(), nn.Conv2d(fine, fine, 1))
        self.four = nn.Sequential(nn.GELU(), nn.Conv2d(fine, width // 4, 3, 2, 1))

    def forward(self, pixels: Tensor) -> Sequence[Tensor]:
        """(B, 3, H, W) in [0, 1] -> (B, C / 4, H / 4, W / 4), (B, C / 8, H / 2, W / 2)."""
        two = self.two((pixels - 0.5) * 4)
        return self.four(two), two


class Block(nn.Module):
    """One layer of a vision transformer (Dosovitskiy et al., ICLR 2021)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.mixed = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.alone = nn.Sequential(
            nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> the same shape."""
        parts = self.mixed(self.norms[0](x)).chunk(3, -1)
        q, k, v = (one.unflatten(-1, (self.heads, -1)).transpose(1, 2) for one in parts)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.alone(self.norms[1](x))


class FrozenImageEncoder(nn.Module):
    """The detector's encoder, frozen, and what is trained above it."""

    def __init__(self, config: SegmentConfig):
        super().__init__()
        self.encoder = EmbeddedEncoder(EmbeddedConfig()).requires_grad_(False).eval()
        fine, middle, coarse = self.encoder.config.levels
        self.coarse = nn.Conv2d(coarse, config.width, 1)
        self.blocks = nn.ModuleList(Block(config.width, config.heads) for _ in range(config.blocks))
        self.middle = nn.Conv2d(middle, config.width, 1)
        self.joined = nn.Conv2d(config.width, config.width, 3, 1, 1)
        self.fine = nn.Conv2d(fine, config.width // 4, 1)

    def train(self, mode: bool = True) -> "FrozenImageEncoder":
        """The encoder stays as it is."""
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) -> (B, C, H / 8, W / 8) and, finer, (B, C / 4, H / 4, W / 4)."""
        with torch.no_grad(), torch.autocast(pixels.device.type, enabled=False):
            own = next(self.encoder.projections.parameters()).dtype
            fine, middle, coarse = self.encoder(pixels.to(own)).levels
        dtype = self.coarse.weight.dtype
        x = self.coarse(coarse.to(dtype))
        grid_hw = x.shape[2:]
        places = sines(x.shape[1], grid_hw[0], grid_hw[1]).to(x)
        tokens = (x + places).flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        x = tokens.transpose(1, 2).unflatten(2, grid_hw)
        x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        x = x + self.middle(middle.to(dtype))
        return self.joined(F.gelu(x)), self.fine(fine.to(dtype))


class VitImageEncoder(nn.Module):
    """A plain vision transformer, brought to the grid that prompts meet."""

    def __init__(self, config: SegmentConfig):
        super().__init__()
        vit = config.vit
        self.patches = nn.Conv2d(3, vit.width, 16, 16)
        self.blocks = nn.ModuleList(Block(vit.width, vit.heads) for _ in range(vit.layers))
        self.norm = nn.LayerNorm(vit.width)
        self.wider = nn.ConvTranspose2d(vit.width, config.width, 2, 2)
        self.joined = nn.Conv2d(config.width, config.width, 3, 1, 1)

    def tokens(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> patches with their places, (B, N, width)."""
        x = self.patches((pixels - 0.5) * 4)
        return (x + sines(x.shape[1], x.shape[2], x.shape[3]).to(x)).flatten(2).transpose(1, 2)

    def seen(self, tokens: Tensor) -> Tensor:
        """Any of the patches, (B, n, width), through all layers."""
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def forward(self, pixels: Tensor) -> tuple[Tensor, None]:
        """(B, 3, H, W) -> (B, C, H / 8, W / 8); nothing finer."""
        grid_hw = (pixels.shape[2] // 16, pixels.shape[3] // 16)
        x = self.seen(self.tokens(pixels)).transpose(1, 2).unflatten(2, grid_hw)
        return self.joined(F.gelu(self.wider(x))), None


def sines(width: int, height: int, across: int) -> Tensor:
    """Sines and cosines of rows and columns, (1, width, height, across), as in MAE."""
    rates = 1e4 ** -(torch.arange(width // 4) / (width // 4))
    rows, columns = (torch.outer(rates, torch.arange(n).float()) for n in (height, across))
    y = torch.cat([rows.sin(), rows.cos()])[:, :, None].expand(-1, -1, across)
    x = torch.cat([columns.sin(), columns.cos()])[:, None].expand(-1, height, -1)
    return torch.cat([y, x])[None]
