"""The text-aligned image decoder: one picture and words for "sound" and "damaged" -> a map.

AnomalyGPT (Gu et al., AAAI 2024, section 3.3, equation 2), after WinCLIP and APRIL-GAN: patch
features of four levels are projected to the space of a text tower, a linear layer each, and
compared with the mean embedding of sentences that say normal and of sentences that say abnormal
(vlm/text_tower.py). Without a text tower the two states are learned vectors.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anomalyst.backbones.base import Encoder
from anomalyst.detection.scoring import mixed_logits
from anomalyst.types import Features

LEVELS = 4


def aligned_levels(features: Features) -> list[Tensor]:
    """The levels that the decoder reads, from fine to coarse: (B, D_l, h_l, w_l) each.

    Those of the encoder, and of the embedded one its trunk's coarsest as the fourth.
    """
    own = LEVELS - 1 if features.frozen else LEVELS  # other sizes of the picture may follow
    return [*features.levels[:own], *features.frozen[-1:]]


class TextAlignedDecoder(nn.Module):
    """Levels (B, D_l, h_l, w_l) -> logits of "anomalous" (B, 1, H, W), no good picture needed.

    One linear layer per level to `width`, cosine with the two states times a learned scale, softmax
    over the two; the probabilities are averaged over the levels, which is the sum of equation 2
    brought to [0, 1]. `standardised`: each patch has mean 0 and variance 1 before its layer, as
    behind a transformer's last norm.
    """

    def __init__(self, level_widths: Sequence[int], width: int, *, standardised: bool = False):
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(d, width, 1) for d in level_widths])
        self.states = nn.Parameter(torch.randn(2, width))  # normal, abnormal; if no text tower
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.standardised = standardised

    def forward(
        self, levels: Sequence[Tensor], size_hw: tuple[int, int], states: Tensor | None = None
    ) -> Tensor:
        """`states` (2, width) or (B, 2, width): embeddings from a text tower, of any length."""
        # The mean of probabilities, kept as a logit so that losses stay finite.
        found = self.level_logits(levels, size_hw, states)
        return mixed_logits(found, [1.0] * len(found))

    def level_logits(
        self, levels: Sequence[Tensor], size_hw: tuple[int, int], states: Tensor | None = None
    ) -> list[Tensor]:
        """The logits of each level, (B, 1, H, W): abnormal less normal, bilinear to `size_hw`."""
        if len(levels) != len(self.layers):
            raise ValueError(
                f"the text-aligned decoder reads {len(self.layers)} levels; "
                f"{len(levels)} are given."
            )
        both = F.normalize(self.states if states is None else states, dim=-1)
        both = both.expand(len(levels[0]), 2, -1)  # (B, 2, width)
        found = []
        for layer, level in zip(self.layers, levels, strict=True):
            seen = _standardised(level) if self.standardised else level
            projected = F.normalize(layer(seen), dim=1)  # (B, width, h, w)
            cosine = torch.einsum("bdhw,bsd->bshw", projected, both) * self.log_scale.exp()
            grown = F.interpolate(cosine, size=list(size_hw), mode="bilinear", align_corners=False)
            found.append(grown[:, 1:] - grown[:, :1])
        return found


def _standardised(level: Tensor) -> Tensor:
    return F.layer_norm(level.movedim(1, -1), level.shape[1:2]).movedim(-1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """How much the words' probability counts in the map beside the detector's own.

    Chosen on drawn products of families never trained on and on three sets (docs/benchmarks.md).
    """

    alone: float = 0.2  # without a good picture
    beside: float = 0.1  # beside good pictures, which say more


class TextAligned(nn.Module):
    """The decoder asked about one product: its states, and how much it counts beside the bank."""

    states: Tensor  # (2, width): normal, abnormal

    def __init__(
        self,
        decoder: TextAlignedDecoder,
        states: Tensor,
        *,
        shares: Shares,
        tower: Encoder | None = None,
        note: str = "",
    ):
        """`tower`: the image tower it reads, where that is not the detector's encoder.

        `note` says whose words these are.
        """
        super().__init__()
        self.decoder, self.tower, self.shares = decoder, tower, shares
        self.note = note
        self.register_buffer("states", states)

    def forward(self, pixels: Tensor, features: Features, size_hw: tuple[int, int]) -> Tensor:
        """Pixels (B, 3, H, W) in [0, 1] and what the detector's encoder made of them -> logits.

        (B, 1, h, w) float32 of size `size_hw`.
        """
        if self.tower is not None:
            features = self.tower(fitting(pixels, self.tower))
        levels = [level.float() for level in aligned_levels(features)]
        found: Tensor = self.decoder(levels, size_hw, self.states)
        return found


def fitting(pixels: Tensor, tower: Encoder) -> Tensor:
    """Pictures (B, 3, H, W) as a tower takes them: a transformer at its own area.

    The embedded encoder's levels mean the same at any size, in multiples of its stride.
    """
    multiple, sides = tower.multiple_px, pixels.shape[-2:]
    scale = tower.side_px / math.sqrt(sides[0] * sides[1]) if tower.name.startswith("hf:") else 1
    wanted = [max(1, round(side * scale / multiple)) * multiple for side in sides]
    if wanted == list(sides):
        return pixels
    return F.interpolate(pixels, wanted, mode="bilinear", align_corners=False, antialias=True)
