"""What kind of defect a region is: a small network on the place itself and on what differs there.

Trained on regions that the detector found on drawn products. It names a family of defects rather
than guesses a product's own names for them, which one good picture cannot tell.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anomalyst.backbones.embedded import conv_bn, fold_batch_norm, read_weights
from anomalyst.detection.classifiers.kinds import KINDS
from anomalyst.detection.classifiers.own_kinds import OwnKinds
from anomalyst.detection.scoring import Evidence
from anomalyst.io.geometry import Views
from anomalyst.types import Region

KIND_WEIGHTS = Path(__file__).parents[2] / "weights" / "kinds.safetensors"
DETAIL = 97  # channels of `Evidence.detail`
CONTEXT = 1.5  # side of what is looked at, in sides of the region's box
LEAST_PX = 32  # of the canvas
MOST_KINDS = 6  # regions whose kind is looked at, worst first; as many as words speak of


class KindClassifier(nn.Module):
    """Crops (B, 3, 64, 64) in [0, 255], map (B, 1, 16, 16), detail (B, 97, 16, 16), (B, 5) figures
    -> logits (B, kinds)."""

    def __init__(self, kinds: int = len(KINDS)):
        super().__init__()
        self.pixels = nn.Sequential(
            conv_bn(3, 24, stride=2), conv_bn(24, 48, stride=2), conv_bn(48, 48)
        )
        self.detail = nn.Conv2d(DETAIL, 48, 1)
        self.map = nn.Conv2d(1, 16, 3, padding=1)
        self.body = nn.Sequential(conv_bn(112, 96), conv_bn(96, 128, stride=2), conv_bn(128, 128))
        self.scale = nn.BatchNorm1d(5)
        self.head = nn.Sequential(
            nn.Dropout(0.3),
            nn.Linear(2 * 128 + 5, 128),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(128, kinds),
        )

    def forward(self, pixels: Tensor, anomaly: Tensor, detail: Tensor, figures: Tensor) -> Tensor:
        return self.head(self.pooled(pixels, anomaly, detail, figures))

    def pooled(self, pixels: Tensor, anomaly: Tensor, detail: Tensor, figures: Tensor) -> Tensor:
        """What the head is told of each place: (B, 261)."""
        seen = [self.pixels((pixels - 128) / 64), self.detail(detail), self.map(anomaly)]
        x = self.body(torch.cat(seen, 1))  # (B, 128, 8, 8)
        return torch.cat([x.mean((2, 3)), x.amax((2, 3)), self.scale(figures)], 1)


def load_kinds(path: Path = KIND_WEIGHTS) -> KindClassifier:
    """The classifier with its shipped weights, ready to infer."""
    tensors, _ = read_weights(path, "kinds")
    classifier = KindClassifier()
    classifier.load_state_dict(tensors, strict=True)
    classifier.eval().requires_grad_(False)
    fold_batch_norm(classifier)
    return classifier


@torch.inference_mode()
def with_kinds(
    classifier: KindClassifier,
    regions: Sequence[Region],
    views: Views,
    evidence: Sequence[Evidence],
    own: OwnKinds | None = None,
) -> tuple[Region, ...]:
    """The regions with their kind; those after the sixth have none.

    `own`: the product's own kinds, which say what people call each. Where that is a shipped kind,
    it is the region's kind, too.
    """
    looks = [region_look(region, views, evidence) for region in regions[:MOST_KINDS]]
    known = [i for i, look in enumerate(looks) if look is not None]
    if not known:
        return tuple(regions)
    batch = [torch.cat(parts) for parts in zip(*(looks[i] for i in known), strict=True)]
    pooled = classifier.pooled(*batch)
    kinds = [KINDS[kind] for kind in classifier.head(pooled).argmax(1).tolist()]
    called = own.names_of(pooled) if own is not None else [""] * len(kinds)
    named = list(regions)
    for index, kind, name in zip(known, kinds, called, strict=True):
        kind = name if name in KINDS else kind
        named[index] = replace(named[index], kind=kind, called=name)
    return tuple(named)


def region_look(
    region: Region, views: Views, evidence: Sequence[Evidence]
) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
    """What the classifier sees of one region, each with B = 1; None without a detail."""
    tile, box = views.on_canvas(region.box_xyxy)
    found = evidence[tile]
    if found.detail is None:
        return None
    canvas = views.canvases[tile]
    height, width = canvas.shape[:2]
    x0, y0, x1, y1 = box
    wide, tall = max(x1 - x0, 1e-3), max(y1 - y0, 1e-3)
    side = max(LEAST_PX, CONTEXT * max(wide, tall))
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    shares = (
        (x - side / 2) / width,
        (y - side / 2) / height,
        (x + side / 2) / width,
        (y + side / 2) / height,
    )
    pixels = torch.from_numpy(canvas).permute(2, 0, 1)[None].float()
    filled = region.area_px / max(1, _area(region.box_xyxy))
    figures = [_log(filled * wide * tall), _log(side), _log(wide / tall), region.peak, filled]
    return (
        crop(pixels, shares, 64),
        crop(torch.from_numpy(found.map)[None, None], shares, 16),
        crop(found.detail, shares, 16),
        torch.tensor([figures]),
    )


def crop(x: Tensor, box: tuple[float, float, float, float], side: int) -> Tensor:
    """(1, C, H, W) -> (1, C, side, side): a box in shares of the picture, the border repeated."""
    x0, y0, x1, y1 = box
    steps = (torch.arange(side) + 0.5) / side
    rows, columns = y0 + (y1 - y0) * steps, x0 + (x1 - x0) * steps
    grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)[None] * 2 - 1
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def _area(box_xyxy: tuple[int, int, int, int]) -> int:
    x0, y0, x1, y1 = box_xyxy
    return (x1 - x0) * (y1 - y0)


def _log(value: float) -> float:
    return float(torch.tensor(max(value, 1e-3)).log())
