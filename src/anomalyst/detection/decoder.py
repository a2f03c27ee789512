"""The pair decoder: a query and good pictures -> where the query cannot be explained by them.

Residual-guided change segmentation in the manner of MetaUAS (Gao 2024) and AdaptCLIP, with three
ways to match each patch: anywhere, near its own place, and where its neighbours matched.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anomalyst.config import from_mapping
from anomalyst.encoders.embedded import EMBEDDED_WEIGHTS, fold_batch_norm, read_weights
from anomalyst.types import Features


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderConfig:
    """Widths of the pair decoder."""

    levels: tuple[int, int, int] = (48, 96, 128)  # feature width of the encoder's levels
    width: int = 96  # channels at strides 8 and 16
    fine_width: int = 48  # channels at stride 4


@dataclass(slots=True)
class References:
    """Good pictures as the decoder needs them, computed once when a product is taught.

    Per level: unit patch vectors (B, M, D) with M = K * N and N = h * w. From stride 8 on also how
    alike the pictures are, (B, K, K, N): the best similarity of patch n of picture i in picture j.
    """

    grids_hw: list[tuple[int, int]]
    patches: list[Tensor]
    likeness: list[Tensor]  # of every level but the finest

    def only(self, pictures: Sequence[int]) -> "References":
        """Some of the good pictures: what `remember` would make of these alone, but free."""
        kept = torch.as_tensor(list(pictures))
        cells = [height * width for height, width in self.grids_hw]
        patches = [
            rows.unflatten(1, (-1, count))[:, kept].flatten(1, 2)
            for rows, count in zip(self.patches, cells, strict=True)
        ]
        likeness = [like[:, kept][:, :, kept] for like in self.likeness]
        return References(self.grids_hw, patches, likeness)


def unit_patches(level: Tensor) -> Tensor:
    """(B, D, h, w) -> (B, N, D) float32 unit vectors."""
    return F.normalize(level.flatten(2).transpose(1, 2).float(), dim=2)


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

    def remember(self, features: Features, count: int) -> References:
        """Features of B * count good pictures (picture-major) -> `References` for B products."""
        grids, patches, likeness = [], [], []
        for index, level in enumerate(features.levels):
            height, width = level.shape[-2:]
            units = unit_patches(level)  # (B*K, N, D)
            rows = units.reshape(-1, count * height * width, units.shape[-1])  # (B, M, D)
            grids.append((height, width))
            patches.append(rows)
            if index > 0:
                likeness.append(picture_likeness(rows, count))
        return References(grids, patches, likeness)

    def forward(self, query: Features, references: References) -> tuple[Tensor, list[Tensor]]:
        """-> logits (B, 1, H/4, W/4) and each level's nearest-patch distance (B, 1, h, w)."""
        fine, *rest = query.levels
        stacked, distances, best = [], [], []
        for i, (matcher, level) in enumerate(zip(self.matchers, rest, strict=True)):
            rows, grid = references.patches[i + 1], references.grids_hw[i + 1]
            match = matcher(level, rows, grid, normal_variation(references.likeness[i]))
            stacked.append(match.features)
            distances.append(match.distance)
            best.append(match.best)
        x = self.coarse(stacked[1])
        x = self.middle(torch.cat([grown(x, stacked[0]), stacked[0]], 1))
        detail = self.fine_match(fine, references, best[0])
        x = self.fine(torch.cat([grown(x, fine), self.fine_in(detail)], 1))
        return self.out(x), distances

    def nearest_logits(self, distances: list[Tensor]) -> list[Tensor]:
        """Each level's nearest-patch distance as logits of "anomalous", (B, 1, h, w)."""
        scaled = zip(distances, self.nearest_scale, self.nearest_bias, strict=True)
        return [distance * scale + bias for distance, scale, bias in scaled]

    def fine_match(self, level: Tensor, references: References, best: Tensor) -> Tensor:
        """Stride-4 detail under stride-8 matches: residual, query, distance -> (B, 2D+1, h, w).

        `best` (B, 2, h/2, w/2): rows of the stride-8 references matched nearby and anywhere. Their
        four children and the neighbours of those are the candidates; the nearest one is kept.
        """
        batch, depth, height, width = level.shape
        units = unit_patches(level)  # (B, N, D)
        rows = references.patches[0]
        with torch.no_grad():
            candidates = _children(best, references.grids_hw[0], (height, width))  # (B, C, N)
            score = torch.stack(
                [(units * _taken(rows, c)).sum(2) for c in candidates.unbind(1)], 1
            )  # (B, C, N)
            nearest = candidates.gather(1, score.argmax(1, keepdim=True))[:, 0]
        matched = _taken(rows, nearest)  # (B, N, D)
        distance = 1 - (units * matched).sum(2, keepdim=True)
        detail = torch.cat([(units - matched).abs() * 4, units * 2, distance * 4], 2)
        return detail.transpose(1, 2).reshape(batch, 2 * depth + 1, height, width)


def _taken(rows: Tensor, index: Tensor) -> Tensor:
    """Rows (B, M, D) picked by index (B, N) -> (B, N, D)."""
    return rows.gather(1, index[..., None].expand(-1, -1, rows.shape[2]))


def _children(best: Tensor, fine_hw: tuple[int, int], query_hw: tuple[int, int]) -> Tensor:
    """Stride-8 rows (B, 2, h, w) -> stride-4 candidates (B, 10, N): a cross round each child."""
    rows_fine, columns_fine = fine_hw
    columns = columns_fine // 2
    cells = (rows_fine // 2) * columns
    picture, cell = best // cells, best % cells
    y = (cell // columns * 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    x = (cell % columns * 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    picture = picture.repeat_interleave(2, 2).repeat_interleave(2, 3)
    y = y + (torch.arange(query_hw[0], device=best.device) % 2)[:, None]
    x = x + (torch.arange(query_hw[1], device=best.device) % 2)[None, :]
    found = []
    for dy, dx in ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)):
        at_y, at_x = (y + dy).clamp(0, rows_fine - 1), (x + dx).clamp(0, columns_fine - 1)
        found.append((picture * rows_fine + at_y) * columns_fine + at_x)
    return torch.cat(found, 1).flatten(2)


@dataclass(slots=True)
class Match:
    """What one level's matching tells the decoder."""

    features: Tensor  # (B, width, h, w)
    distance: Tensor  # (B, 1, h, w): 1 - similarity to the nearest good patch, anywhere
    best: Tensor  # (B, 2, h, w) rows of the references: matched nearby, matched anywhere


class LevelMatcher(nn.Module):
    """One level: match every patch anywhere, near its place, and where its neighbours matched."""

    SCALARS = 4

    def __init__(self, depth: int, width: int):
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(2.7))  # log of the softmax temperature
        self.nearness = nn.Parameter(torch.tensor(-3.5))  # log of similarity lost per cell^2
        self.mix = nn.Sequential(
            nn.Conv2d(3 * depth + self.SCALARS, width, 1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(
        self, level: Tensor, rows: Tensor, grid_hw: tuple[int, int], variation: Tensor
    ) -> Match:
        """(B, D, h, w) query, (B, M, D) references on `grid_hw`, (B, M) their variation."""
        with torch.autocast(level.device.type, enabled=False):
            batch, depth, height, width = level.shape
            units = unit_patches(level)  # (B, N, D)
            similarity = units @ rows.transpose(1, 2)  # (B, N, M)
            anywhere, at_any = similarity.max(2)
            tau = self.sharpness.exp()
            aligned = (similarity * tau).softmax(2) @ rows  # (B, N, D)
            penalty = squared_gaps((height, width), grid_hw, level.device)  # (N, M / K)
            count = rows.shape[1] // penalty.shape[1]
            biased = similarity - (penalty * self.nearness.exp()).repeat(1, count)
            at_near = biased.argmax(2)
            near = similarity.gather(2, at_near[..., None])[..., 0]
            aligned_near = (biased * tau).softmax(2) @ rows
            agreed = agreement(similarity, at_any, (height, width), grid_hw)
            spread = variation.gather(1, at_any)
            scalars = torch.stack([1 - anywhere, 1 - near, 1 - agreed, spread], 2)  # (B, N, 4)
            stacked = torch.cat(
                [
                    (units - aligned).abs() * 4,
                    (units - aligned_near).abs() * 4,
                    units * 2,
                    scalars * 4,
                ],
                2,
            )
        stacked = stacked.transpose(1, 2).reshape(batch, -1, height, width)
        best = torch.stack([at_near, at_any], 1).reshape(batch, 2, height, width)
        distance = (1 - anywhere).reshape(batch, 1, height, width)
        return Match(F.relu(self.mix(stacked)), distance, best)


def squared_gaps(
    query_hw: tuple[int, int], grid_hw: tuple[int, int], device: torch.device
) -> Tensor:
    """Squared distance in cells between every query place and every reference place, (N, M/K)."""

    def places(rows: int, columns: int, scale: tuple[float, float]) -> Tensor:
        y = (torch.arange(rows, device=device) + 0.5) * scale[0]
        x = (torch.arange(columns, device=device) + 0.5) * scale[1]
        return torch.stack(torch.meshgrid(y, x, indexing="ij"), 2).reshape(-1, 2)

    scale = (query_hw[0] / grid_hw[0], query_hw[1] / grid_hw[1])
    return torch.cdist(places(*query_hw, (1.0, 1.0)), places(*grid_hw, scale)).square()


def agreement(
    similarity: Tensor, best: Tensor, query_hw: tuple[int, int], grid_hw: tuple[int, int]
) -> Tensor:
    """Best similarity under the displacement of a neighbour's match, (B, N).

    A patch that only resembles something far from where its neighbours matched scores low
    (anchor-consistent retrieval). `similarity` (B, N, M), `best` (B, N) its argmax.
    """
    batch, (height, width), (rows, columns) = similarity.shape[0], query_hw, grid_hw
    cells = rows * columns
    grid = best.reshape(batch, height, width)
    with torch.no_grad():
        found = []
        for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            # The neighbour at (y - dy, x - dx) matched some place; ours lies (dy, dx) beyond it.
            neighbour = torch.roll(grid, (dy, dx), (1, 2))
            picture, cell = neighbour // cells, neighbour % cells
            y = (cell // columns + dy).clamp(0, rows - 1)
            x = (cell % columns + dx).clamp(0, columns - 1)
            found.append(((picture * rows + y) * columns + x).flatten(1))
        candidates = torch.stack(found, 2)  # (B, N, 4)
        pick = similarity.gather(2, candidates).argmax(2, keepdim=True)
        chosen = candidates.gather(2, pick)
    return similarity.gather(2, chosen)[..., 0]


def picture_likeness(rows: Tensor, count: int) -> Tensor:
    """How well picture j explains each patch of picture i: (B, M, D) unit vectors -> (B, K, K, N).

    A picture explains its own patch by its other patches.
    """
    each = rows.shape[1] // count
    pictures = rows.unflatten(1, (count, each))  # (B, K, N, D)
    itself = torch.eye(each, dtype=torch.bool, device=rows.device)
    found = []
    for i in range(count):
        # One picture against all at a time: (B, N, M) is the most ever held.
        similarity = (pictures[:, i] @ rows.transpose(1, 2)).unflatten(2, (count, each))
        similarity = similarity.transpose(1, 2)  # (B, K, N, N)
        own = similarity[:, i].masked_fill(itself, -1.0)
        best = [own.amax(2) if j == i else similarity[:, j].amax(2) for j in range(count)]
        found.append(torch.stack(best, 1))  # (B, K, N)
    return torch.stack(found, 1)


def normal_variation(likeness: Tensor) -> Tensor:
    """Distance of each good patch to its nearest fellow, (B, K, K, N) -> (B, K * N).

    With several good pictures the fellow is in another one; with one it is elsewhere in the same
    picture, which tells a repeated texture from a part that occurs once.
    """
    count = likeness.shape[1]
    if count > 1:
        itself = torch.eye(count, dtype=torch.bool, device=likeness.device)
        likeness = likeness.masked_fill(itself[None, :, :, None], -1.0)
    return 1 - likeness.amax(2).flatten(1)


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
    return decoder
