"""The interface of the baselines, and how their distances become a map.

Each is what its paper says about features of a frozen network, without any training of its own, so
that several can be measured on the features of one network (`anomalyst bench peers`).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import cv2
import numpy as np
import torch
from torch import Tensor

from anomalyst.backbones.base import Encoder, neighbourhood_mean
from anomalyst.detection.detector import Detector, Memory
from anomalyst.detection.pose import Shown
from anomalyst.detection.scoring import Evidence, blurred, content, resized
from anomalyst.io.geometry import Placement
from anomalyst.types import Features

BLUR_PX = 4.0  # Gaussian sigma over the map, as SPADE, PaDiM, PatchCore and AnomalyDINO have it
MAP_STRIDE_PX = 4  # of the maps here
# A map must lie in [0, 1]. Divided by a constant it keeps order, proportions (it is resampled) and
# float32's digits; squared distances of the features here stay a power of ten below.
FARTHEST = 1e5
# More good pictures than this and no copies of them are made: AnomalyDINO's few-shot runs end here,
# and a hundred pictures turned thirty times would only fill the memory.
FEW = 16


class Baseline(Detector, ABC):
    """A published method on the features of a frozen encoder.

    `recipe`: its settings, the paper's by default; two runs of other settings are not mixed.
    """

    paper: ClassVar[object]

    def __init__(self, encoder: Encoder, recipe: object = None):
        super().__init__(encoder)
        self.recipe = recipe or self.paper

    def views(self, picture: np.ndarray) -> list[np.ndarray]:
        """What is remembered of one of few good pictures, uint8 (H, W, 3): itself, and copies."""
        return [picture]

    @abstractmethod
    def remember(self, good: Features) -> Memory:
        """Features of the good pictures' views -> what queries are compared with."""

    @abstractmethod
    def judge(self, query: Features, memory: Memory, placement: Shown | None) -> Evidence:
        """One query's features against a memory; padding around its placement does not count."""


def rotated(picture: np.ndarray, degrees: float) -> np.ndarray:
    """The picture turned about its centre, size kept, its border mirrored: (H, W, 3) -> the same.

    Counter-clockwise, as `cv2.getRotationMatrix2D` counts.
    """
    height, width = picture.shape[:2]
    middle_xy = (width - 1) / 2, (height - 1) / 2  # OpenCV counts from the first pixel's centre
    turn = cv2.getRotationMatrix2D(middle_xy, degrees, 1.0)
    return cv2.warpAffine(picture, turn, (width, height), borderMode=cv2.BORDER_REFLECT_101)


def middle(features: Features) -> Sequence[Tensor]:
    """The levels that are compared: all but the finest, of three or more."""
    return features.levels[1:] if len(features.levels) > 2 else features.levels


def grid_hw(features: Features) -> tuple[int, int]:
    """The grid of the finest level that is compared."""
    height, width = middle(features)[0].shape[-2:]
    return int(height), int(width)


def patches(features: Features, *, smooth: bool) -> Tensor:
    """The compared levels on the finest one's grid, concatenated: (B, N, D).

    `smooth`: each place becomes the mean of its 3 x 3 neighbourhood first (PatchCore, section 3.1).
    """
    levels = list(middle(features))
    if smooth:
        levels = [neighbourhood_mean(level) for level in levels]
    whole = torch.cat([resized(level, grid_hw(features)) for level in levels], 1)
    return whole.flatten(2).transpose(1, 2)


def evidence(distance: Tensor, score: float | None, placement: Shown | None) -> Evidence:
    """A map of distances (1, 1, h, w), grown and blurred; its largest value is the score if none
    is given.
    """
    shown = blurred(resized(distance, _map_hw(distance, placement)), BLUR_PX / MAP_STRIDE_PX)
    kept = content(placement, shown)
    highest = float(shown[kept].max())
    map_ = ((shown / FARTHEST).clamp(0, 1) * kept)[0, 0].numpy()
    return Evidence(map_, highest if score is None else score)


def _map_hw(distance: Tensor, placement: Shown | None) -> tuple[int, int]:
    if not isinstance(placement, Placement):
        return int(distance.shape[-2]), int(distance.shape[-1])
    height, width = placement.canvas_hw
    return max(1, height // MAP_STRIDE_PX), max(1, width // MAP_STRIDE_PX)
