"""PatchCore (Roth et al., CVPR 2022): the nearest of a coreset of good patches."""

from dataclasses import dataclass

import torch
from torch import Tensor

from anomalyst.detection.detector import Memory
from anomalyst.detection.memory_bank import greedy_coreset
from anomalyst.detection.pose import Shown
from anomalyst.detection.scoring import Evidence, content
from anomalyst.evaluation.baselines.methods.base import Baseline, evidence, grid_hw, patches
from anomalyst.types import Features


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchCoreConfig:
    """The paper's settings."""

    coreset: float = 0.1  # share of the good patches kept, however few there are (section 3.2)
    neighbours: int = 9  # of the nearest patch, for the score's weight (equation 7)


@dataclass(slots=True, kw_only=True)
class PatchMemory(Memory):
    """Patches of the good pictures, (M, D)."""

    rows: Tensor


class PatchCore(Baseline):
    """Nearest of all good patches; the picture's score is re-weighted by how crowded that one is.

    Patches are averages of 3 x 3 features, the levels concatenated on the finer grid (section 3.1);
    a greedy coreset of them is kept (3.2); the score is equation 7.
    """

    recipe: PatchCoreConfig
    paper = PatchCoreConfig()

    @torch.inference_mode()
    def remember(self, good: Features) -> Memory:
        """Features of K good pictures -> a coreset of their patches."""
        rows = patches(good, smooth=True).flatten(0, 1)
        count = max(1, round(self.recipe.coreset * len(rows)))
        return PatchMemory(rows=rows[greedy_coreset(rows, count)])

    @torch.inference_mode()
    def judge(self, query: Features, memory: Memory, placement: Shown | None) -> Evidence:
        """Distances to the nearest good patch as a map, and the re-weighted largest as score."""
        assert isinstance(memory, PatchMemory)
        grid = grid_hw(query)
        own = patches(query, smooth=True)[0]  # (N, D)
        distance, nearest = torch.cdist(own, memory.rows).min(1)
        kept = content(placement, distance.reshape(1, 1, *grid)).flatten()
        worst = int(torch.where(kept, distance, -1.0).argmax())
        score = self.reweighted(own[worst], int(nearest[worst]), memory.rows)
        return evidence(distance.reshape(1, 1, *grid), score, placement)

    def reweighted(self, patch: Tensor, nearest: int, rows: Tensor) -> float:
        """Equation 7: smaller where the nearest good patch has good neighbours as near to it."""
        near = torch.cdist(rows[nearest][None], rows)[0]
        most = min(self.recipe.neighbours, len(rows))
        index = near.topk(most, largest=False).indices  # it comes first
        to_these = torch.linalg.vector_norm(rows[index] - patch, dim=1)
        return float(to_these[0] * (1 - torch.softmax(to_these, 0)[0]))
