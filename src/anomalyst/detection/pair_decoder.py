"""The pair decoder: a query and good pictures -> where the query cannot be explained by them.

Residual-guided change segmentation in the manner of MetaUAS (Gao 2024) and AdaptCLIP, on matches
made both ways and in several manners (`matching.py`).
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anomalyst.backbones.embedded import EMBEDDED_WEIGHTS, fold_batch_norm, read_weights
from anomalyst.config import from_mapping
from anomalyst.detection.alignment import rescaled
from anomalyst.detection.matching import (
    LevelMatcher,
    References,
    as_picture,
    children,
    picture_likeness,
    taken,
    unit_patches,
    working,
)
from anomalyst.types import Features


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderConfig:
    """Widths of the pair decoder."""

    levels: tuple[int, int, int] = (48, 96, 128)  # feature width of the encoder's levels
    width: int = 96  # channels at strides 8 and 16
    fine_width: int = 48  # channels at stride 4


@dataclass(slots=True)
class Matched:
    """What matching hands to the head."""

    coarse: Tensor  # (B, width, H/16, W/16)
    middle: Tensor  # (B, width, H/8, W/8)
    fine: Tensor  # (B, 2 D + 1, H/4, W/4)
    distances: list[Tensor]  # (B, 1, h, w) per level: to the nearest good patch
    movement: Tensor  # (B, K, 2, 3) of the product from each good picture, in cells of stride 8


class PairDecoder(nn.Module):
    """Features of a query + `References` -> logits of "anomalous" at stride 4."""

    def __init__(self, config: DecoderConfig | None = None):
        super().__init__()
        self.config = config or DecoderConfig()
        fine, middle, coarse = self.config.levels
        width, fine_width = self.config.width, self.config.fine_width
        self.matchers = nn.ModuleList([LevelMatcher(middle, width), LevelMatcher(coarse, width)])
        self.coarse = block(width, width)
        self.middle = block(2 * width, width)
        self.fine_in = nn.Conv2d(2 * fine + 1, fine_width, 1)
        self.fine = nn.Sequential(
            block(width + fine_width, fine_width, size=1), block(fine_width, fine_width)
        )
        self.out = nn.Conv2d(fine_width, 1, 3, padding=1)
        # How far a patch must be from every good one to count as anomalous, learned per level.
        self.nearest_scale = nn.Parameter(torch.tensor([8.0, 8.0]))
        self.nearest_bias = nn.Parameter(torch.tensor([-2.0, -2.0]))

    def remember(self, features: Features, count: int, *, alone: bool = False) -> References:
        """Features of B * count good pictures (picture-major) -> `References` for B products.

        `alone`: they are the B queries themselves, and no good picture is at hand.
        """
        grids, patches, likeness = [], [], []
        for index, level in enumerate(features.levels):
            height, width = level.shape[-2:]
            units = unit_patches(level)  # (B*K, N, D)
            rows = units.reshape(-1, count * height * width, units.shape[-1])  # (B, M, D)
            grids.append((height, width))
            patches.append(rows)
            if index > 0:
                likeness.append(picture_likeness(rows, count))
        return References(grids, patches, likeness, alone)

    def forward(self, query: Features, references: References) -> tuple[Tensor, list[Tensor]]:
        """-> logits (B, 1, H/4, W/4) and each level's nearest-patch distance (B, 1, h, w)."""
        matched = self.match(query, references)
        return self.decide(matched), matched.distances

    def match(
        self, query: Features, references: References, movement: Tensor | None = None
    ) -> Matched:
        """What the query resembles in the good pictures, and where it does not.

        `movement` says how the product lies, in cells of stride 8; without it, matches tell.
        """
        fine, middle, coarse = query.levels
        beside = self.matchers[0](middle, references, 1, movement)
        above = self.matchers[1](coarse, references, 2, rescaled(beside.movement, (0.5, 0.5)))
        detail = self.fine_match(fine, references, beside.best)
        distances = [beside.distance, above.distance]
        return Matched(above.features, beside.features, detail, distances, beside.movement)

    def decide(self, matched: Matched) -> Tensor:
        """The head: matches -> logits (B, 1, H/4, W/4)."""
        x = self.coarse(matched.coarse)
        x = self.middle(torch.cat([grown(x, matched.middle), matched.middle], 1))
        mix, normalise, activate = cast(nn.Sequential, self.fine[0])
        assert isinstance(mix, nn.Conv2d)
        # This convolution sees one pixel at a time, so it may go before the growing: cheaper.
        above, own = mix.weight.split([x.shape[1], mix.weight.shape[1] - x.shape[1]], 1)
        x = grown(F.conv2d(x, above, mix.bias), matched.fine)
        x = x + F.conv2d(self.fine_in(matched.fine), own)
        return self.out(self.fine[1](activate(normalise(x))))

    def head(self) -> dict[str, nn.Parameter]:
        """The parameters of `decide`, which a product may have its own of."""
        parts = ("coarse.", "middle.", "fine_in.", "fine.", "out.")
        return {name: p for name, p in self.named_parameters() if name.startswith(parts)}

    def with_head(self, head: Mapping[str, Tensor]) -> "PairDecoder":
        """A decoder that shares all but its head."""
        other = copy.deepcopy(self)
        for name, parameter in other.head().items():
            parameter.data.copy_(head[name])
        return other

    def nearest_pictures(self, query: Features, references: References, most: int) -> list[int]:
        """Which good pictures, at most `most`, are most like one query: its patches match best."""
        if references.count <= most:
            return list(range(references.count))
        similarity = unit_patches(query.levels[2]) @ references.patches[2].transpose(1, 2)
        alike = similarity.unflatten(2, (references.count, -1)).amax(3).float().mean(1)[0]  # (K,)
        return alike.topk(most).indices.sort().values.tolist()

    def nearest_logits(self, distances: list[Tensor]) -> list[Tensor]:
        """Each level's nearest-patch distance as logits of "anomalous", (B, 1, h, w)."""
        scaled = zip(distances, self.nearest_scale, self.nearest_bias, strict=True)
        return [distance * scale + bias for distance, scale, bias in scaled]

    def with_nearest(self, logits: Tensor, distances: list[Tensor], weight: float = 1.0) -> Tensor:
        """The head's logits with the mean of the nearest-patch logits beside them, (B, 1, h, w)."""
        near = [grown(n.float(), logits) for n in self.nearest_logits(distances)]
        return logits + weight * torch.stack(near).mean(0)

    def fine_match(self, level: Tensor, references: References, best: Tensor) -> Tensor:
        """Stride-4 detail under stride-8 matches: residual, query, distance -> (B, 2D+1, h, w).

        `best` (B, 2, h/2, w/2): rows of the stride-8 references matched nearby and anywhere. Their
        four children and the neighbours of those are the candidates; the nearest one is kept.
        """
        height, width = level.shape[-2:]
        units, rows = unit_patches(level), references.patches[0]  # (B, N, D), (B, M, D)
        vectors, good = working(units), working(rows)
        with torch.no_grad():
            candidates = children(best, references.grids_hw[0], (height, width))  # (B, C, N)
            score = torch.stack(
                [(vectors * taken(good, c)).sum(2) for c in candidates.unbind(1)], 1
            )  # (B, C, N)
            nearest = candidates.gather(1, score.argmax(1, keepdim=True))[:, 0]
        matched = taken(rows, nearest)  # (B, N, D)
        distance = working(1 - (units * matched).sum(2, keepdim=True))
        detail = torch.cat([(vectors - working(matched)).abs() * 4, vectors * 2, distance * 4], 2)
        return as_picture(detail, (height, width))


def grown(x: Tensor, like: Tensor) -> Tensor:
    """Bilinear to the grid of `like`."""
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


def block(before: int, width: int, size: int = 3) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(before, width, size, padding=size // 2, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )


def load_decoder(path: Path = EMBEDDED_WEIGHTS) -> PairDecoder:
    """The pair decoder with its shipped weights, ready to infer (batch norm folded)."""
    tensors, metadata = read_weights(path, "decoder")
    decoder = PairDecoder(from_mapping(DecoderConfig, metadata.get("decoder", {})))
    decoder.load_state_dict(tensors, strict=True)
    decoder.eval().requires_grad_(False)
    fold_batch_norm(decoder)
    return decoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
