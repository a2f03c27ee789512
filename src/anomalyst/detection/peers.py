"""What others make of an encoder's features, to measure the pair decoder against.

PatchCore (Roth et al. 2022), PaDiM (Defard et al. 2021) and AnomalyDINO (Damm et al. 2025), each
behind the face of `Detector`; the last is the memory bank that encoders without a decoder use.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from anomalyst.detection.bank import greedy_coreset
from anomalyst.detection.detector import Detector, Evidence, Memory, blurred, content, resized
from anomalyst.detection.pose import Shown
from anomalyst.types import Features

BLUR_PX = 4.0  # Gaussian sigma over the map, as both papers have it
MAP_STRIDE_PX = 4.0  # of the maps here


@dataclass(slots=True)
class PatchMemory(Memory):
    """Patches of the good pictures, (M, D)."""

    rows: Tensor = field(default_factory=lambda: torch.empty(0))


class PatchCore(Detector):
    """Nearest of all good patches; the picture's score is re-weighted by how crowded that one is.

    Patches are averages of 3 x 3 features, the levels concatenated on the finer grid (section 3.1);
    a greedy coreset keeps 10 % of more than `most_rows` (3.2); the score is equation 7.
    """

    most_rows = 20_000
    coreset = 0.1
    neighbours = 9

    @torch.inference_mode()
    def remember(self, good: Features) -> Memory:
        """Features of K good pictures -> their patches, or a coreset of them."""
        rows = _patches(good).flatten(0, 1)
        if len(rows) > self.most_rows:
            rows = rows[greedy_coreset(rows, round(self.coreset * len(rows)))]
        return PatchMemory(rows=rows)

    @torch.inference_mode()
    def judge(self, query: Features, memory: Memory, placement: Shown | None) -> Evidence:
        """Distances to the nearest good patch as a map, and the re-weighted largest as score."""
        assert isinstance(memory, PatchMemory)
        grid = _grid_hw(query)
        patches = _patches(query)[0]  # (N, D)
        distance, nearest = torch.cdist(patches, memory.rows).min(1)
        kept = content(placement, distance.reshape(1, 1, *grid)).flatten()
        worst = int(torch.where(kept, distance, -1.0).argmax())
        score = self.reweighted(patches[worst], int(nearest[worst]), memory.rows)
        return _evidence(distance.reshape(1, 1, *grid), score, query, placement)

    def reweighted(self, patch: Tensor, nearest: int, rows: Tensor) -> float:
        """Equation 7: smaller where the nearest good patch has good neighbours as near to it."""
        near = torch.cdist(rows[nearest][None], rows)[0]
        index = near.topk(min(self.neighbours, len(rows)), largest=False).indices  # it comes first
        to_these = torch.linalg.vector_norm(rows[index] - patch, dim=1)
        return float(to_these[0] * (1 - torch.softmax(to_these, 0)[0]))


@dataclass(slots=True)
class GaussianMemory(Memory):
    """A Gaussian at every place of the grid: means (N, D), inverse covariances (N, D, D)."""

    means: Tensor = field(default_factory=lambda: torch.empty(0))
    precisions: Tensor = field(default_factory=lambda: torch.empty(0))


class PaDiM(Detector):
    """Mahalanobis distance to the Gaussian of the good pictures at the same place.

    Covariances are regularised by 0.01 I (section 3.2); with one good picture nothing else is left
    of them, and the distance is ten times the Euclidean one. 100 random dimensions are kept.
    """

    dimensions = 100
    ridge = 0.01

    @torch.inference_mode()
    def remember(self, good: Features) -> Memory:
        """Features of K good pictures -> mean and inverse covariance of every place."""
        rows = self._rows(good)  # (K, N, D)
        means = rows.mean(0)
        centred = (rows - means).transpose(0, 1)  # (N, K, D)
        covariance = centred.transpose(1, 2) @ centred / max(1, len(rows) - 1)
        ridge = self.ridge * torch.eye(rows.shape[2])
        return GaussianMemory(means=means, precisions=torch.linalg.inv(covariance + ridge))

    @torch.inference_mode()
    def judge(self, query: Features, memory: Memory, placement: Shown | None) -> Evidence:
        """Mahalanobis distances as a map, their largest after the blur as score."""
        assert isinstance(memory, GaussianMemory)
        gap = self._rows(query)[0] - memory.means  # (N, D)
        squared = torch.einsum("nd,nde,ne->n", gap, memory.precisions, gap)
        distance = squared.clamp(min=0).sqrt().reshape(1, 1, *_grid_hw(query))
        return _evidence(distance, None, query, placement)

    def _rows(self, features: Features) -> Tensor:
        rows = _patches(features, smooth=False)
        generator = torch.Generator().manual_seed(0)
        kept = torch.randperm(rows.shape[2], generator=generator)[: self.dimensions]
        return rows[:, :, kept]


class AnomalyDINO(Detector):
    """Cosine distance to the nearest good patch; the mean of the top 1 % is the score."""


PEERS: dict[str, type[PatchCore | PaDiM | AnomalyDINO]] = {
    "PatchCore": PatchCore,
    "PaDiM": PaDiM,
    "AnomalyDINO": AnomalyDINO,
}


def _middle(features: Features) -> Sequence[Tensor]:
    """The levels that both papers take: all but the finest, of three or more."""
    return features.levels[1:] if len(features.levels) > 2 else features.levels


def _grid_hw(features: Features) -> tuple[int, int]:
    height, width = _middle(features)[0].shape[-2:]
    return int(height), int(width)


def _patches(features: Features, *, smooth: bool = True) -> Tensor:
    """The middle levels on one grid, concatenated: (B, N, D)."""
    levels = list(_middle(features))
    if smooth:
        levels = [F.avg_pool2d(level, 3, 1, 1, count_include_pad=False) for level in levels]
    whole = torch.cat([resized(level, _grid_hw(features)) for level in levels], 1)
    return whole.flatten(2).transpose(1, 2)


def _evidence(
    distance: Tensor, score: float | None, query: Features, placement: Shown | None
) -> Evidence:
    """A map of distances (1, 1, h, w), blurred; its largest value is the score if none is given."""
    height, width = query.levels[0].shape[-2:]
    shown = blurred(resized(distance, (height, width)), BLUR_PX / MAP_STRIDE_PX)
    kept = content(placement, shown)
    highest = float(shown[kept].max())
    # Only the order of values counts for what is compared; the map must lie in [0, 1].
    map_ = (shown / (1 + shown) * kept)[0, 0].numpy()
    return Evidence(map_, highest if score is None else score)
