"""An anomaly map -> the connected places in it: box, area, peak, centre, and where in words."""

from collections.abc import Sequence

import cv2
import numpy as np
from scipy import ndimage

from anomalyst.types import Part, Region, Verdict, place_of

MOST_REGIONS = 50
REGION_THRESHOLD = 0.5  # of the map: as likely anomalous as not
JOINED = 0.09  # of the picture's side; with LEAST, counts agree best with drawn defects'
LEAST = 4e-4  # of the picture's area: a smaller place is named only if it is the only one
PARTS: dict[Part, str] = {
    "missing": "something that the good pictures show is missing",
    "extra": "something lies there that the good pictures do not show",
}


def find_regions(
    anomaly_map: np.ndarray,
    threshold: float,
    min_area_px: int = 1,
    *,
    join_px: float = 0.0,
    limit: int = MOST_REGIONS,
) -> tuple[Region, ...]:
    """Places of at least `min_area_px` pixels where the map is at or above `threshold`.

    The map is float32 (H, W), finite. Pixels that touch by a corner belong together, and so do
    those with a gap of at most `join_px` between them. Boxes and centres are in pixels of the map,
    with the centre of the first pixel at 0.5. The highest peak comes first (then the larger area,
    then reading order), and at most `limit` are kept.
    """
    assert anomaly_map.ndim == 2 and np.isfinite(anomaly_map).all(), anomaly_map.shape
    above = (anomaly_map >= threshold).astype(np.uint8)
    if not above.any():
        return ()
    labels = _labelled(above, join_px)
    boxes = ndimage.find_objects(labels)
    areas = np.bincount(labels.ravel())
    kept = np.array([i for i in range(1, len(areas)) if areas[i] >= max(1, min_area_px)], int)
    if not len(kept):
        return ()
    peaks = np.asarray(ndimage.maximum(anomaly_map, labels, kept))
    order = np.lexsort((kept, -areas[kept], -peaks))[:limit]
    found = []
    for label, peak in zip(kept[order], peaks[order], strict=True):
        rows, columns = boxes[label - 1]
        x, y = columns.start, rows.start
        centre_xy = _centre(anomaly_map[rows, columns], labels[rows, columns] == label, (x, y))
        found.append(
            Region(
                box_xyxy=(x, y, columns.stop, rows.stop),
                area_px=int(areas[label]),
                peak=float(peak),
                centre_xy=centre_xy,
                place=place_of(centre_xy, (anomaly_map.shape[0], anomaly_map.shape[1])),
            )
        )
    return tuple(found)


def _labelled(above: np.ndarray, join_px: float) -> np.ndarray:
    """int32 (H, W): the number of each pixel's place, 0 where the map is below."""
    if join_px <= 0:
        return cv2.connectedComponents(above, connectivity=8)[1]
    near = cv2.distanceTransform(1 - above, cv2.DIST_L2, 3) <= join_px / 2
    labels = cv2.connectedComponents(near.astype(np.uint8), connectivity=8)[1]
    return labels * above


def joined_px(size_hw: tuple[int, ...]) -> float:
    """The widest gap within one place: pieces of a scratch, crumbs of a heap."""
    return JOINED * float(size_hw[0] * size_hw[1]) ** 0.5


def _centre(
    values: np.ndarray, inside: np.ndarray, corner_xy: tuple[int, int]
) -> tuple[float, float]:
    """Centre (x, y) of the pixels `inside` a box, weighted by the map's values."""
    rows, columns = np.nonzero(inside)
    weights = values[rows, columns].astype(np.float64)
    # A threshold of 0 or less lets in pixels without weight, or of a weight below 0.
    if weights.min() < 0 or weights.sum() <= 0:
        weights = np.ones_like(weights)
    x = float(np.average(columns, weights=weights)) + corner_xy[0] + 0.5
    y = float(np.average(rows, weights=weights)) + corner_xy[1] + 0.5
    return x, y


def level_below(peak: float) -> float:
    """The level at which regions are cut out of a map whose highest value is `peak`."""
    return min(REGION_THRESHOLD, 0.6 * peak)


def region_level(regions: Sequence[Region]) -> float:
    """The level at which these regions, one or more, were cut out of their map."""
    return level_below(max(region.peak for region in regions))


def regions_for(whole: np.ndarray, verdict: Verdict) -> tuple[Region, ...]:
    """The regions a verdict speaks of: none when it is normal, at least one when it is not."""
    if verdict == "normal":
        return ()
    threshold = level_below(float(whole.max()))
    gap = joined_px(whole.shape)
    found = find_regions(whole, threshold, max(4, round(whole.size * LEAST)), join_px=gap)
    return found or find_regions(whole, threshold, join_px=gap)[:1]


def sentence(verdict: Verdict, regions: Sequence[Region], p_value: float) -> str:
    """The verdict in words."""
    if verdict == "normal":
        return f"No anomaly found (p = {p_value:.3g})."
    count, told = len(regions), "".join(f" {part_sentence(r)}" for r in regions if r.part)
    where = "; ".join(dict.fromkeys(r.place for r in regions[:3]))
    what = f"{count} region{'s' if count != 1 else ''}" + (f" at the {where}" if where else "")
    if verdict == "anomalous":
        return f"Anomalous: {what} (p = {p_value:.3g}).{told}"
    return f"Unsure: please look at {what} (p = {p_value:.3g}).{told}"


def part_sentence(region: Region) -> str:
    """What a region's part says, in words; the region has one."""
    assert region.part is not None
    return f"{region.place.capitalize()}: {PARTS[region.part]}."


def box_iou(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    """Intersection over union of two boxes (x0, y0, x1, y1), in [0, 1]."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    tall = min(one[3], other[3]) - max(one[1], other[1])
    both = max(0, wide) * max(0, tall)
    areas = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (one, other))
    return both / (areas - both)
