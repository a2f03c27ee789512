"""An anomaly map -> the connected places in it: box, area, peak, centre, and where in words."""

from collections.abc import Sequence

import cv2
import numpy as np
from scipy import ndimage

from anomalyst.types import Region, Verdict, place_of

MOST_REGIONS = 50
REGION_THRESHOLD = 0.5  # of the map: as likely anomalous as not


def find_regions(
    anomaly_map: np.ndarray,
    threshold: float,
    min_area_px: int = 1,
    *,
    limit: int = MOST_REGIONS,
) -> tuple[Region, ...]:
    """Places of at least `min_area_px` pixels where the map is at or above `threshold`.

    The map is float32 (H, W), finite. Pixels that touch by a corner belong together. Boxes and
    centres are in pixels of the map, with the centre of the first pixel at 0.5. The highest peak
    comes first (then the larger area, then reading order), and at most `limit` are kept.
    """
    assert anomaly_map.ndim == 2 and np.isfinite(anomaly_map).all(), anomaly_map.shape
    above = (anomaly_map >= threshold).astype(np.uint8)
    # Row 0 of every answer is the background.
    _, labels, stats, _ = cv2.connectedComponentsWithStats(above, connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA]
    kept = 1 + np.flatnonzero(areas[1:] >= min_area_px)
    if not len(kept):
        return ()
    peaks = np.asarray(ndimage.maximum(anomaly_map, labels, kept))
    order = np.lexsort((kept, -areas[kept], -peaks))[:limit]
    found = []
    for label, peak in zip(kept[order], peaks[order], strict=True):
        x, y, width, height, area = (int(v) for v in stats[label])
        inside = labels[y : y + height, x : x + width] == label
        centre_xy = _centre(anomaly_map[y : y + height, x : x + width], inside, (x, y))
        found.append(
            Region(
                box_xyxy=(x, y, x + width, y + height),
                area_px=area,
                peak=float(peak),
                centre_xy=centre_xy,
                place=place_of(centre_xy, (anomaly_map.shape[0], anomaly_map.shape[1])),
            )
        )
    return tuple(found)


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


def regions_for(whole: np.ndarray, verdict: Verdict) -> tuple[Region, ...]:
    """The regions a verdict speaks of: none when it is normal, at least one when it is not."""
    if verdict == "normal":
        return ()
    threshold = min(REGION_THRESHOLD, 0.6 * float(whole.max()))
    found = find_regions(whole, threshold, max(4, round(whole.size * 5e-5)))
    return found or find_regions(whole, threshold)[:1]


def sentence(verdict: Verdict, regions: Sequence[Region], p_value: float) -> str:
    """The verdict in words."""
    if verdict == "normal":
        return f"No anomaly found (p = {p_value:.3g})."
    count = len(regions)
    where = "; ".join(dict.fromkeys(r.place for r in regions[:3]))
    what = f"{count} region{'s' if count != 1 else ''}" + (f" at the {where}" if where else "")
    if verdict == "anomalous":
        return f"Anomalous: {what} (p = {p_value:.3g})."
    return f"Unsure: please look at {what} (p = {p_value:.3g})."
