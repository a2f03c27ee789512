"""What SubspaceAD (CVPR 2026) does: the part of a patch that the good ones' subspace lacks."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from anomalyst.detection.detector import Memory
from anomalyst.detection.pose import Shown
from anomalyst.detection.scoring import Evidence, content, top_mean
from anomalyst.evaluation.baselines.methods.base import (
    Baseline,
    evidence,
    grid_hw,
    patches,
    rotated,
)
from anomalyst.types import Features


@dataclass(frozen=True, slots=True, kw_only=True)
class SubspaceConfig:
    """The paper's settings."""

    variance: float = 0.99  # share of the good patches' variance that the subspace keeps
    turns: int = 30  # copies of each of few good pictures, turned by random angles
    most_degrees: float = 345.0  # largest of these angles
    top_share: float = 0.01  # of the patches, whose mean residual is the score
    seed: int = 0  # of the angles


@dataclass(slots=True, kw_only=True)
class SubspaceMemory(Memory):
    """The good patches' mean (D,) and principal directions (R, D)."""

    mean: Tensor
    directions: Tensor


class Subspace(Baseline):
    """Squared residual of a patch outside the principal subspace of the good pictures' patches.

    The levels are concatenated on the finer grid, where the paper averages blocks of DINOv2. The
    score is the mean of the largest 1 % of the residuals.
    """

    recipe: SubspaceConfig
    paper = SubspaceConfig()

    def views(self, picture: np.ndarray) -> list[np.ndarray]:
        """The picture, and copies turned by random angles, the same for every picture."""
        angles = np.random.default_rng(self.recipe.seed).uniform(
            0, self.recipe.most_degrees, self.recipe.turns
        )
        return [picture, *(rotated(picture, float(angle)) for angle in angles)]

    @torch.inference_mode()
    def remember(self, good: Features) -> Memory:
        """Features of all views -> the subspace of their patches."""
        mean, directions = principal(patches(good, smooth=False), self.recipe.variance)
        return SubspaceMemory(mean=mean, directions=directions)

    @torch.inference_mode()
    def judge(self, query: Features, memory: Memory, placement: Shown | None) -> Evidence:
        """Squared residuals as a map, the mean of the largest as score."""
        assert isinstance(memory, SubspaceMemory)
        gap = patches(query, smooth=False)[0] - memory.mean  # (N, D)
        inside = gap @ memory.directions.T  # (N, R)
        residual = gap - inside @ memory.directions
        distance = residual.square().sum(1).reshape(1, 1, *grid_hw(query))
        score = top_mean(distance[content(placement, distance)], self.recipe.top_share)
        return evidence(distance, score, placement)


def principal(rows: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Patches (B, N, D) -> their mean (D,) and the directions (R, D) that hold `share` of variance.

    The fewest directions whose eigenvalues sum to at least `share` in (0, 1) of all; summed in
    float64 picture by picture, as hundreds of thousands of patches must not be held twice.
    """
    width, count = rows.shape[2], rows.shape[0] * rows.shape[1]
    mean = sum((one.double().sum(0) for one in rows), torch.zeros(width, dtype=torch.float64))
    mean = mean / count
    scatter = torch.zeros(width, width, dtype=torch.float64)
    for one in rows:
        centred = one.double() - mean
        scatter += centred.T @ centred
    values, vectors = torch.linalg.eigh(scatter)  # ascending
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    kept = int((values.cumsum(0) < share * values.sum()).sum()) + 1
    return mean.float(), vectors[:, :kept].T.float().contiguous()
