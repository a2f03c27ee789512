"""One label for each pixel: background, product, its parts, and each region with its kind.

Kirillov et al., Panoptic Segmentation, CVPR 2019 (arXiv:1801.00868): kinds are semantic, regions
are instances, both in one map.
"""

from dataclasses import dataclass

import numpy as np

from anomalyst.inspection.refining import masks_of
from anomalyst.segmentation.everything import everything
from anomalyst.segmentation.prompts import Segmenter
from anomalyst.synthetic.foreground import product_mask
from anomalyst.types import Inspection

BACKGROUND, PRODUCT, PART, ANOMALY = "background", "product", "part", "anomaly"
MOST_PARTS = 60


@dataclass(frozen=True, slots=True)
class Piece:
    """What the pixels of one number are."""

    number: int
    name: str  # background, product, part, or a region's kind
    thing: bool  # an instance; else what has no count
    region: int | None = None  # of the inspection, from 1


@dataclass(frozen=True, slots=True)
class Panoptic:
    """A picture's pixels by number, and what the numbers are."""

    numbers: np.ndarray  # uint16 (H, W)
    pieces: tuple[Piece, ...]


def panoptic(picture: np.ndarray, found: Inspection, segmenter: Segmenter) -> Panoptic:
    """Everything on an inspected picture, uint8 (H, W, 3): what is found lies on top."""
    numbers = np.ones(picture.shape[:2], np.uint16)
    pieces = [Piece(1, BACKGROUND, thing=False), Piece(2, PRODUCT, thing=False)]
    product = product_mask(picture)
    numbers[product] = 2
    size_hw = picture.shape[0], picture.shape[1]
    parts = everything(segmenter.look(picture), size_hw)[:MOST_PARTS]
    # The largest first, so that what lies on a part stays visible.
    masks = sorted((one.whole() & product for one in parts), key=lambda one: -int(one.sum()))
    for mask, number in zip(masks, range(3, 3 + len(masks)), strict=True):
        if mask.sum() > 0.9 * product.sum():  # the product itself
            continue
        numbers[mask] = number
        pieces.append(Piece(number, PART, thing=True))
    first = 3 + len(masks)
    shown = list(zip(found.regions, masks_of(found.regions, found.map), strict=True))
    for index, (region, mask) in reversed(list(enumerate(shown, start=1))):
        numbers[mask] = first + index
        pieces.append(Piece(first + index, region.kind or ANOMALY, thing=True, region=index))
    seen = set(np.unique(numbers).tolist())
    return Panoptic(numbers, tuple(one for one in pieces if one.number in seen))
