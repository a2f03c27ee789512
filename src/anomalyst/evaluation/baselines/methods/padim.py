"""PaDiM (Defard et al., ICPR 2021): a Gaussian of the good patches at every place."""

from dataclasses import dataclass

import torch
from torch import Tensor

from anomalyst.detection.detector import Memory
from anomalyst.detection.pose import Shown
from anomalyst.detection.scoring import Evidence
from anomalyst.evaluation.baselines.methods.base import Baseline, evidence, grid_hw, patches
from anomalyst.types import Features


@dataclass(frozen=True, slots=True, kw_only=True)
class PaDiMConfig:
    """The paper's settings."""

    dimensions: int = 100  # of the features, picked at random once (section 3.1)
    ridge: float = 0.01  # added to the covariances' diagonal (section 3.2)
    seed: int = 0  # of the pick


@dataclass(slots=True, kw_only=True)
class GaussianMemory(Memory):
    """A Gaussian at every place of the grid: means (N, D), inverse covariances (N, D, D)."""

    means: Tensor
    precisions: Tensor


class PaDiM(Baseline):
    """Mahalanobis distance to the Gaussian of the good pictures at the same place.

    With one good picture nothing is left of a covariance but the ridge, and the distance is ten
    times the Euclidean one.
    """

    recipe: PaDiMConfig
    paper = PaDiMConfig()

    @torch.inference_mode()
    def remember(self, good: Features) -> Memory:
        """Features of K good pictures -> mean and inverse covariance of every place."""
        rows = self.rows(good)  # (K, N, D)
        means = rows.mean(0)
        centred = (rows - means).transpose(0, 1)  # (N, K, D)
        covariance = centred.transpose(1, 2) @ centred / max(1, len(rows) - 1)
        ridge = self.recipe.ridge * torch.eye(rows.shape[2])
        return GaussianMemory(means=means, precisions=torch.linalg.inv(covariance + ridge))

    @torch.inference_mode()
    def judge(self, query: Features, memory: Memory, placement: Shown | None) -> Evidence:
        """Mahalanobis distances as a map, their largest after the blur as score."""
        assert isinstance(memory, GaussianMemory)
        gap = self.rows(query)[0] - memory.means  # (N, D)
        squared = torch.einsum("nd,nde,ne->n", gap, memory.precisions, gap)
        distance = squared.clamp(min=0).sqrt().reshape(1, 1, *grid_hw(query))
        return evidence(distance, None, placement)

    def rows(self, features: Features) -> Tensor:
        """The picked dimensions of every patch: (B, N, D)."""
        every = patches(features, smooth=False)
        generator = torch.Generator().manual_seed(self.recipe.seed)
        kept = torch.randperm(every.shape[2], generator=generator)[: self.recipe.dimensions]
        return every[:, :, kept]
