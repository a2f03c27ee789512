"""What a language model is shown of a picture: map, regions and features as tensors."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from anomalyst.types import Features, Region
from anomalyst.vlm.prompt_learner import region_figures

PATCH_CELLS = 4  # the patch features are pooled to this grid before the projector takes its own


def shown(
    anomaly_map: Tensor, regions: Sequence[Region], size_hw: tuple[int, int], features: Features,
    *, most: int,
) -> dict[str, Tensor]:  # fmt: skip
    """Map (H, W) in [0, 1], regions and features (T tiles) -> the inputs `SHOWN`, each with B = 1.

    Of several tiles the means are shown.
    """
    patches = F.adaptive_avg_pool2d(features.levels[min(2, len(features.levels) - 1)], PATCH_CELLS)
    return {
        "anomaly_map": anomaly_map[None, None].float(),
        "regions": region_figures(regions, size_hw, most=most)[None],
        "image_embedding": features.embedding.mean(0, keepdim=True),
        "patches": patches.mean(0, keepdim=True),
    }


def stacked(many: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Several pictures' inputs as one batch."""
    return {name: torch.cat([one[name] for one in many]) for name in many[0]}
