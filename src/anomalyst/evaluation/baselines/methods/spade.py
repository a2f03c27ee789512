"""SPADE (Cohen and Hoshen 2020, arXiv:2005.02357): like pictures first, then their patches."""

from dataclasses import dataclass

import torch
from torch import Tensor

from anomalyst.detection.detector import Memory
from anomalyst.detection.memory_bank import fuse
from anomalyst.detection.pose import Shown
from anomalyst.detection.scoring import Evidence
from anomalyst.evaluation.baselines.methods.base import Baseline, evidence, grid_hw, middle
from anomalyst.types import Features

QUERIES = 256  # patches compared at once; all of them with a gallery of 50 pictures take 200 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class SPADEConfig:
    """The paper's settings."""

    pictures: int = 50  # most like good pictures, K; all of fewer
    patches: int = 1  # nearest patches of these whose squared distances are averaged, kappa


@dataclass(slots=True, kw_only=True)
class GalleryMemory(Memory):
    """The good pictures' features as they are."""

    good: Features


class SPADE(Baseline):
    """How far the picture is from its K most like good ones; their patches give the map.

    Picture: mean squared distance of the embeddings to the K nearest (section 3.2). Patch: mean
    squared distance to its kappa nearest in the gallery of all patches of these K (3.3), the mean
    over levels of the pyramid as in the usual re-implementations, where section 3.4 joins levels.
    The paper's embedding is of a ResNet's end, pooled; here it is the encoder's. Every picture has
    a map, where the paper draws one of those only that the first stage calls anomalous.
    """

    recipe: SPADEConfig
    paper = SPADEConfig()

    @torch.inference_mode()
    def remember(self, good: Features) -> Memory:
        """Features of K good pictures, kept whole."""
        return GalleryMemory(good=good)

    @torch.inference_mode()
    def judge(self, query: Features, memory: Memory, placement: Shown | None) -> Evidence:
        """The squared distance to like pictures as score, that to their patches as a map."""
        assert isinstance(memory, GalleryMemory)
        gaps = torch.cdist(query.embedding, memory.good.embedding)[0].square()  # (K,)
        near = gaps.topk(min(self.recipe.pictures, len(gaps)), largest=False)
        alike = memory.good.rows(near.indices.tolist())
        pairs = zip(middle(query), middle(alike), strict=True)
        maps = [self._level(level[0], gallery)[None] for level, gallery in pairs]
        distance = fuse(maps, grid_hw(query))[:, None]  # (1, 1, h, w)
        return evidence(distance, float(near.values.mean()), placement)

    def _level(self, level: Tensor, gallery: Tensor) -> Tensor:
        """(D, h, w) against the good (K, D, h', w') -> squared distances (h, w)."""
        rows = gallery.flatten(2).transpose(1, 2).flatten(0, 1)  # (M, D)
        most = min(self.recipe.patches, len(rows))
        parts = level.flatten(1).T.split(QUERIES)  # (N, D)
        near = [torch.cdist(part, rows).topk(most, largest=False).values for part in parts]
        return torch.cat(near).square().mean(1).reshape(level.shape[-2:])
