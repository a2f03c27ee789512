"""Regions of the anomaly map -> crisp masks: box, peak and map prompt a segmenter.

Each region is looked at closely, in a view of its own; where the segmenter does not trust its own
mask, the region stays as the map has it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from anomalyst.detection.regions import region_level
from anomalyst.io.geometry import Box
from anomalyst.io.masks import mask_box, packed, unpacked
from anomalyst.segmentation.prompts import Prompt, Segment, Segmenter
from anomalyst.types import Region, place_of

MOST_REFINED = 8  # regions, worst first; each costs a view and a prompt
MARGIN = 0.75  # of a region's longer side that its view shows around it
MAP_MARGIN = 0.3  # of a region's sides: how far around its box the map is shown, too
LEAST_VIEW_PX = 32
BELIEVED = 0.4  # least predicted IoU of a mask that replaces a region: docs/benchmarks.md
LEAST_SHARED = 0.2  # of the smaller of region and mask that both must cover
ONE_THING = 0.3  # of the smaller of two masks that both cover: they are of one thing


@dataclass(frozen=True, slots=True)
class Refined:
    """A region and its crisp mask within a view; None: it stays as it is."""

    region: Region
    mask: np.ndarray | None = None  # bool over the view
    fit: float = 0.0  # its predicted IoU
    view: Box = (0, 0, 0, 0)


def refined(
    regions: Sequence[Region],
    picture: np.ndarray,
    heat: np.ndarray,
    segmenter: Segmenter,
    believed: float = BELIEVED,
    counted: np.ndarray | None = None,
) -> tuple[Region, ...]:
    """The regions with crisp masks where the segmenter trusts them; those of one thing are one.

    `picture` uint8 (H, W, 3), `heat` float32 (H, W) in [0, 1]. Box, area, centre and place are then
    those of the mask; the order stays. `counted` bool (H, W): no mask leaves it.
    """
    size_hw = picture.shape[0], picture.shape[1]
    return believed_of(proposed(regions, picture, heat, segmenter, counted), size_hw, believed)


def proposed(
    regions: Sequence[Region],
    picture: np.ndarray,
    heat: np.ndarray,
    segmenter: Segmenter,
    counted: np.ndarray | None = None,
) -> list[Refined]:
    """What the segmenter makes of each region, believed or not."""
    if not regions:
        return []
    level = region_level(regions)
    found = [
        _refined(region, picture, heat, segmenter, counted, level)
        for region in regions[:MOST_REFINED]
    ]
    return found + [Refined(region) for region in regions[MOST_REFINED:]]


def believed_of(
    found: Sequence[Refined], size_hw: tuple[int, int], believed: float = BELIEVED
) -> tuple[Region, ...]:
    """The regions with the masks whose predicted IoU is at least `believed`."""
    kept = [one if one.fit >= believed else Refined(one.region) for one in found]
    return tuple(_told(one, size_hw) for one in _together(kept))


def _refined(
    region: Region,
    picture: np.ndarray,
    heat: np.ndarray,
    segmenter: Segmenter,
    counted: np.ndarray | None,
    level: float,
) -> Refined:
    view = view_of(region.box_xyxy, (picture.shape[0], picture.shape[1]))
    best = segmenter.look(picture, view).segment(prompt_of(region, heat))[0]
    mask = best.in_view()
    if counted is not None:
        mask &= counted[view[1] : view[3], view[0] : view[2]]
    if not _agrees(best, mask, region, heat, level):
        return Refined(region)
    return Refined(region, mask, best.iou, view)


def prompt_of(region: Region, heat: np.ndarray) -> Prompt:
    """A region's box, the highest place in it, and the map there."""
    x0, y0, x1, y1 = region.box_xyxy
    inside = heat[y0:y1, x0:x1]
    row, column = np.unravel_index(int(inside.argmax()), inside.shape)
    alone = np.zeros(heat.shape, np.float32)
    more_x, more_y = (round(MAP_MARGIN * side) for side in (x1 - x0, y1 - y0))
    near = np.s_[max(0, y0 - more_y) : y1 + more_y, max(0, x0 - more_x) : x1 + more_x]
    alone[near] = heat[near]
    return Prompt(
        points_xy=((x0 + float(column) + 0.5, y0 + float(row) + 0.5),),
        positive=(True,),
        box_xyxy=region.box_xyxy,
        mask=alone,
    )


def view_of(box: Box, size_hw: tuple[int, int]) -> Box:
    """What is looked at around a box: as much of the picture as `MARGIN` says."""
    x0, y0, x1, y1 = box
    around = MARGIN * max(x1 - x0, y1 - y0)
    ends = []
    for low, high, length in ((x0, x1, size_hw[1]), (y0, y1, size_hw[0])):
        half = max((high - low) / 2 + around, LEAST_VIEW_PX / 2)
        middle = (low + high) / 2
        first = max(0, round(middle - half))
        ends.append((first, min(length, max(first + 1, round(middle + half)))))
    return ends[0][0], ends[1][0], ends[0][1], ends[1][1]


def _agrees(
    found: Segment, mask: np.ndarray, region: Region, heat: np.ndarray, level: float
) -> bool:
    """Whether a mask and the region it was asked of mean the same place."""
    x0, y0, x1, y1 = found.view_xyxy
    bx0, by0, bx1, by1 = region.box_xyxy
    raw = np.zeros(mask.shape, bool)
    raw[by0 - y0 : by1 - y0, bx0 - x0 : bx1 - x0] = heat[by0:by1, bx0:bx1] >= level
    least = min(int(raw.sum()), int(mask.sum()))
    return least > 0 and int((raw & mask).sum()) >= LEAST_SHARED * least


def _together(found: Sequence[Refined]) -> list[Refined]:
    """Masks that cover each other are of one thing, which has the highest peak's names."""
    kept: list[Refined] = []
    for one in found:
        same = next((i for i, other in enumerate(kept) if _one_thing(other, one)), None)
        if same is None:
            kept.append(one)
        else:
            kept[same] = _union(kept[same], one)
    return kept


def _one_thing(one: Refined, other: Refined) -> bool:
    if one.mask is None or other.mask is None:
        return False
    shared = _overlap(one.view, other.view)
    if shared is None:
        return False
    both = _part(one, shared) & _part(other, shared)
    return bool(both.sum() >= ONE_THING * min(one.mask.sum(), other.mask.sum()))


def _union(one: Refined, other: Refined) -> Refined:
    assert one.mask is not None and other.mask is not None
    views = np.array([one.view, other.view])
    corner, end = views[:, :2].min(0), views[:, 2:].max(0)
    whole = np.zeros((end[1] - corner[1], end[0] - corner[0]), bool)
    for each in (one, other):
        x, y = each.view[0] - corner[0], each.view[1] - corner[1]
        assert each.mask is not None
        whole[y : y + each.mask.shape[0], x : x + each.mask.shape[1]] |= each.mask
    view = (int(corner[0]), int(corner[1]), int(end[0]), int(end[1]))
    return Refined(one.region, whole, min(one.fit, other.fit), view)


def _overlap(one: Box, other: Box) -> Box | None:
    x0, y0 = max(one[0], other[0]), max(one[1], other[1])
    x1, y1 = min(one[2], other[2]), min(one[3], other[3])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _part(one: Refined, box: Box) -> np.ndarray:
    assert one.mask is not None
    x, y = one.view[:2]
    return one.mask[box[1] - y : box[3] - y, box[0] - x : box[2] - x]


def _told(one: Refined, size_hw: tuple[int, int]) -> Region:
    """The region as its mask has it."""
    if one.mask is None:
        return one.region
    left, top, right, bottom = mask_box(one.mask)
    moments = cv2.moments(one.mask.astype(np.uint8), binaryImage=True)
    x, y = one.view[:2]
    centre = (
        x + moments["m10"] / moments["m00"] + 0.5,
        y + moments["m01"] / moments["m00"] + 0.5,
    )
    return replace(
        one.region,
        box_xyxy=(x + left, y + top, x + right, y + bottom),
        area_px=int(one.mask.sum()),
        centre_xy=centre,
        place=place_of(centre, size_hw),
        mask=packed(one.mask, size_hw, one.view),
        fit=one.fit,
    )


def masks_of(regions: Sequence[Region], heat: np.ndarray) -> list[np.ndarray]:
    """Bool (H, W) each: a region's crisp mask, or what was cut out of the map within its box."""
    level = region_level(regions) if regions else 0.0
    return [_mask_of(region, heat, level) for region in regions]


def _mask_of(region: Region, heat: np.ndarray, level: float) -> np.ndarray:
    if region.mask is not None:
        return unpacked(region.mask)
    x0, y0, x1, y1 = region.box_xyxy
    raw = np.zeros(heat.shape, bool)
    raw[y0:y1, x0:x1] = heat[y0:y1, x0:x1] >= level
    return raw
