"""The nearest good patch by cosine: plain, and with AnomalyDINO's turned copies."""

from dataclasses import dataclass

import numpy as np
import torch

from anomalyst.detection.detector import Memory
from anomalyst.detection.memory_bank import MemoryBank, fuse
from anomalyst.detection.pose import Shown
from anomalyst.detection.scoring import Evidence, content, top_mean
from anomalyst.evaluation.baselines.methods.base import Baseline, evidence, grid_hw, middle, rotated
from anomalyst.types import Features


@dataclass(frozen=True, slots=True, kw_only=True)
class NearestConfig:
    """How patches are scored, and which copies of the good pictures join."""

    top_share: float = 0.01  # of the patches, whose mean distance is the score
    angles: tuple[float, ...] = (0.0,)  # degrees by which each of few good pictures is turned


class NearestPatch(Baseline):
    """Cosine distance to the nearest of all good patches, the mean over levels; nothing else.

    The score is the mean of the farthest 1 % of the patches.
    """

    recipe: NearestConfig
    paper = NearestConfig()

    def views(self, picture: np.ndarray) -> list[np.ndarray]:
        """The picture, turned by each of the angles."""
        return [rotated(picture, angle) if angle else picture for angle in self.recipe.angles]

    @torch.inference_mode()
    def remember(self, good: Features) -> Memory:
        """Features of all views -> a bank of every patch."""
        return Memory(bank=MemoryBank.build(_compared(good)))

    @torch.inference_mode()
    def judge(self, query: Features, memory: Memory, placement: Shown | None) -> Evidence:
        """Distances as a map, the mean of the largest as score."""
        assert memory.bank is not None
        levels = memory.bank.distances(_compared(query), max_mb=self.config.search_mb)
        distance = fuse(levels, grid_hw(query))[:, None]  # (1, 1, h, w)
        score = top_mean(distance[content(placement, distance)], self.recipe.top_share)
        return evidence(distance, score, placement)


class AnomalyDINO(NearestPatch):
    """AnomalyDINO's recipe (Damm et al., WACV 2025), "agnostic": every good picture in 8 turns.

    On other features than DINOv2's, and without the mask that its first principal component gives.
    """

    paper = NearestConfig(angles=tuple(float(angle) for angle in range(0, 360, 45)))


def _compared(features: Features) -> Features:
    return Features(list(middle(features)), features.embedding)
