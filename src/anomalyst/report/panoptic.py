"""A panoptic result on disk: numbers as COCO's PNG, what they are as JSON, and a coloured picture.

Format: https://cocodataset.org/#format-data, "Panoptic Segmentation": a pixel's number is
R + 256 G + 65536 B.
"""

from typing import Any

import cv2
import numpy as np

from anomalyst.inspection.panoptic import Panoptic
from anomalyst.io.geometry import resize
from anomalyst.report.masks import GOLDEN, hue_colour, paint
from anomalyst.report.overlay import shown_size


def panoptic_png(found: Panoptic) -> bytes:
    """The numbers as COCO keeps them."""
    numbers = found.numbers.astype(np.uint32)
    rgb = np.stack([numbers & 255, numbers >> 8 & 255, numbers >> 16], 2).astype(np.uint8)
    return cv2.imencode(".png", rgb[..., ::-1])[1].tobytes()


def panoptic_record(found: Panoptic) -> dict[str, Any]:
    """COCO's `segments_info` and `categories` as plain JSON values."""
    names = list(dict.fromkeys(one.name for one in found.pieces))
    things = {one.name: int(one.thing) for one in found.pieces}
    segments = []
    for one in found.pieces:
        mask = (found.numbers == one.number).astype(np.uint8)
        segments.append(
            {
                "id": one.number,
                "category_id": names.index(one.name) + 1,
                "area": int(mask.sum()),
                "bbox": list(cv2.boundingRect(mask)),
                "iscrowd": 0,
                **({"region": one.region} if one.region is not None else {}),
            }
        )
    categories = [
        {"id": index, "name": name, "isthing": things[name]}
        for index, name in enumerate(names, start=1)
    ]
    return {"segments_info": segments, "categories": categories}


def panoptic_picture(picture: np.ndarray, found: Panoptic) -> np.ndarray:
    """The picture, uint8 (H, W, 3), with each thing in a colour of its own; regions in red."""
    size_hw = shown_size(picture.shape[:2])
    shown = resize(picture, size_hw).astype(np.float32)
    numbers = cv2.resize(found.numbers, size_hw[::-1], interpolation=cv2.INTER_NEAREST)
    for one in found.pieces:
        if not one.thing:
            continue
        hue = 0.0 if one.region is not None else 0.15 + 0.7 * (one.number * GOLDEN % 1)
        paint(shown, numbers == one.number, hue_colour(hue), thick=1)
    return shown.round().astype(np.uint8)
