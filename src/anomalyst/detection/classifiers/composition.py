"""Which parts a product has: whether a region shows a part too few or a part too many.

A map says that a place differs. Whether a part is missing there, or one too many lies there, is
told by a small network that sees the place on the query and on a good picture side by side, with
the eyes of the frozen trunk. It was taught on drawn products (`recipes/composition.yaml`).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anomalyst.backbones.efficientnet_lite import CHANNELS, LiteTrunk
from anomalyst.backbones.embedded import conv_bn, fold_batch_norm, read_weights
from anomalyst.detection.classifiers.defect_types import CONTEXT, LEAST_PX
from anomalyst.io.geometry import Views
from anomalyst.types import Part, Region

COMPOSITION_WEIGHTS = Path(__file__).parents[2] / "weights" / "composition.safetensors"
CHANGES: tuple[Part | None, ...] = (None, "missing", "extra")
CROP_PX = 64
SEEN_PX = 128  # side at which the trunk looks at a crop
SPREAD = 7.0  # standard deviation of the trunk's channels
Box = tuple[float, float, float, float]  # x0, y0, x1, y1 on a canvas
SURROUNDINGS = 2.2  # side of what a region's place is found by, in sides of its box
SHIFT_PX = 12  # how far a place may lie from where it lies on the good picture, of the canvas
MOST_LOOKED = 4  # regions looked at, worst first; each takes half as long as encoding the picture


class CompositionClassifier(nn.Module):
    """What a frozen trunk sees at a place of two pictures -> logits (B, 3) of `CHANGES`."""

    def __init__(self, trunk_widths: tuple[int, int] = CHANNELS[1:], width: int = 96):
        super().__init__()
        self.mix = nn.Conv2d(sum(trunk_widths), 64, 1)
        self.body = nn.Sequential(
            conv_bn(3 * 64 + 7, width), conv_bn(width, width, stride=2), conv_bn(width, width)
        )
        self.head = nn.Sequential(
            nn.Dropout(0.4),
            nn.Linear(2 * width, 64),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(64, len(CHANGES)),
        )

    def forward(self, query: Tensor, good: Tensor, pairs: Tensor) -> Tensor:
        """`query` and `good` (B, C, 16, 16) of `trunk_features`, `pairs` (B, 7, 16, 16)."""
        query, good = F.relu(self.mix(query)), F.relu(self.mix(good))
        x = self.body(torch.cat([query, good, (query - good).abs(), pairs], 1))
        return self.head(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1))


@torch.no_grad()
def trunk_features(trunk: nn.Module, pairs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs (B, 7, 64, 64) in [0, 1] -> what `CompositionClassifier` looks at, float32."""
    query, good, _ = pairs.split([3, 3, 1], 1)
    both = F.interpolate(torch.cat([query, good]), size=(SEEN_PX, SEEN_PX), mode="bilinear")
    weights = next(trunk.parameters())
    both = both.to(weights.device, weights.dtype, memory_format=torch.channels_last)
    _, middle, coarse = trunk(both)
    levels = [level.float().cpu() / SPREAD for level in (middle, coarse)]
    grown = F.interpolate(levels[1], size=levels[0].shape[-2:], mode="bilinear")
    query, good = torch.cat([levels[0], grown], 1).chunk(2)  # (B, C, 16, 16) each
    return query, good, F.adaptive_avg_pool2d(pairs, SEEN_PX // 8)


class Composition:
    """The classifier with its shipped weights, on a trunk."""

    def __init__(self, trunk: LiteTrunk, path: Path = COMPOSITION_WEIGHTS):
        tensors, metadata = read_weights(path, "composition")
        self.trunk, self.classifier = trunk, CompositionClassifier()
        self.classifier.load_state_dict(tensors, strict=True)
        self.classifier.eval().requires_grad_(False)
        fold_batch_norm(self.classifier)
        self.believed = float(metadata["believed"])  # least probability that is told

    @torch.inference_mode()
    def with_parts(
        self, regions: Sequence[Region], views: Views, good: Views
    ) -> tuple[Region, ...]:
        """One or more regions, each with `part` where a part is missing or one too many lies.

        The query and the good picture lie alike, in one frame.
        """
        told = list(regions)
        at = [views.on_canvas(region.box_xyxy) for region in regions[:MOST_LOOKED]]
        pairs = [pair_of(views.canvases[tile], good.canvases[tile], box) for tile, box in at]
        shares = self.classifier(*trunk_features(self.trunk, torch.stack(pairs))).softmax(1)
        for index, (most, sure) in enumerate(zip(shares.argmax(1), shares.amax(1), strict=True)):
            if CHANGES[most] is not None and float(sure) >= self.believed:
                told[index] = replace(told[index], part=CHANGES[most])
        return tuple(told)


def pair_of(query: np.ndarray, good: np.ndarray, box_xyxy: Box) -> Tensor:
    """A place on a query and on a good picture, both uint8 (h, w, 3) -> (7, 64, 64) in [0, 1]."""
    x0, y0, x1, y1 = box_xyxy
    centre = ((x0 + x1) / 2, (y0 + y1) / 2)
    side = max(LEAST_PX, CONTEXT * max(x1 - x0, y1 - y0))
    dx, dy = place_shift(query, good, box_xyxy)
    crops = [_crop(query, centre, side), _crop(good, (centre[0] + dx, centre[1] + dy), side)]
    box = np.zeros((CROP_PX, CROP_PX, 1), np.uint8)
    half = CROP_PX / 2
    wide, tall = ((x1 - x0) / side * half, (y1 - y0) / side * half)
    box[
        max(0, round(half - tall)) : max(1, round(half + tall)),
        max(0, round(half - wide)) : max(1, round(half + wide)),
    ] = 255
    stacked = np.concatenate([*crops, box], 2)
    return torch.from_numpy(stacked).permute(2, 0, 1).float() / 255


def place_shift(query: np.ndarray, good: np.ndarray, box_xyxy: Box) -> tuple[int, int]:
    """How far (x, y) a place of the query lies from there on the good picture, in pixels.

    Found by its surroundings: what differs inside the box has no say.
    """
    height, width = query.shape[:2]
    x0, y0, x1, y1 = box_xyxy
    grow = (SURROUNDINGS - 1) / 2 * max(x1 - x0, y1 - y0, LEAST_PX / CONTEXT)
    left, top = max(0, int(x0 - grow)), max(0, int(y0 - grow))
    right, bottom = min(width, int(x1 + grow) + 1), min(height, int(y1 + grow) + 1)
    template = cv2.cvtColor(query[top:bottom, left:right], cv2.COLOR_RGB2GRAY).astype(np.float32)
    counts = np.ones_like(template)
    counts[
        max(0, int(y0) - top) : int(y1) + 1 - top, max(0, int(x0) - left) : int(x1) + 1 - left
    ] = 0
    if counts.sum() < 32:
        return 0, 0
    around = np.pad(cv2.cvtColor(good, cv2.COLOR_RGB2GRAY), SHIFT_PX, mode="edge")
    window = around[top : bottom + 2 * SHIFT_PX, left : right + 2 * SHIFT_PX]
    cost = cv2.matchTemplate(window.astype(np.float32), template, cv2.TM_SQDIFF, mask=counts)
    y, x = np.unravel_index(int(cost.argmin()), cost.shape)
    moved = cost[SHIFT_PX, SHIFT_PX] - cost[y, x] > 0.1 * cost[SHIFT_PX, SHIFT_PX]
    return (int(x) - SHIFT_PX, int(y) - SHIFT_PX) if moved else (0, 0)


def _crop(picture: np.ndarray, centre_xy: tuple[float, float], side: float) -> np.ndarray:
    """A square round a place, (64, 64, 3), the border repeated."""
    size = max(2, round(side))
    left, top = round(centre_xy[0] - size / 2), round(centre_xy[1] - size / 2)
    height, width = picture.shape[:2]
    rows = np.arange(top, top + size).clip(0, height - 1)
    columns = np.arange(left, left + size).clip(0, width - 1)
    return cv2.resize(picture[rows][:, columns], (CROP_PX, CROP_PX), interpolation=cv2.INTER_AREA)
