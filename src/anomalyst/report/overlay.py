"""The picture with its anomaly map over it and its regions outlined.

The colour scale is fixed, 0 to 1: a sound part stays as it is, whatever its own map's range.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from anomalyst.imaging import resize
from anomalyst.types import Inspection, Region

MAX_SIDE_PX = 1600
VISIBLE_FROM = 0.15  # of the map: below it the picture is left alone


def shown_size(size_hw: tuple[int, int], max_side_px: int = MAX_SIDE_PX) -> tuple[int, int]:
    """The size a picture is shown at: its own, or smaller with the same aspect."""
    scale = min(1.0, max_side_px / max(size_hw))
    return max(1, round(size_hw[0] * scale)), max(1, round(size_hw[1] * scale))


def overlay(
    picture: np.ndarray, inspection: Inspection, *, max_side_px: int = MAX_SIDE_PX
) -> np.ndarray:
    """uint8 RGB (H, W, 3) and its inspection -> uint8 RGB, at most `max_side_px` on a side."""
    size_hw = shown_size(picture.shape[:2], max_side_px)
    shown = resize(picture, size_hw)
    heat = resize(inspection.map, size_hw)
    tinted = tint(shown, heat)
    scale = size_hw[1] / picture.shape[1]
    return outlined(tinted, heat, inspection.regions, scale)


def tint(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Lay the map (H, W) in [0, 1] over the picture; opacity grows with the map."""
    level = np.clip(heat, 0, 1)
    colours = cv2.applyColorMap((level * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    alpha = np.clip((level - VISIBLE_FROM) / (1 - VISIBLE_FROM), 0, 1)[..., None] * 0.65
    if not alpha.any():
        return picture.copy()
    return np.round(picture * (1 - alpha) + colours * alpha).astype(np.uint8)


def outlined(
    picture: np.ndarray, heat: np.ndarray, regions: Sequence[Region], scale: float
) -> np.ndarray:
    """Outline each region and number it, in order of its peak."""
    canvas = picture.copy()
    thick = max(1, round(max(canvas.shape[:2]) / 400))
    for number, region in enumerate(regions, start=1):
        x0, y0, x1, y1 = (round(v * scale) for v in region.box_xyxy)
        inside = heat[y0:y1, x0:x1] >= min(0.5, 0.6 * region.peak)
        contours, _ = cv2.findContours(
            inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE, offset=(x0, y0)
        )
        cv2.drawContours(canvas, contours, -1, (0, 0, 0), thick + 2, cv2.LINE_AA)
        cv2.drawContours(canvas, contours, -1, (64, 224, 255), thick, cv2.LINE_AA)
        _number(canvas, number, (x0, y0), thick)
    return canvas


def side_by_side(picture: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """The picture as it is, and as explained, at one size with a thin gap."""
    plain = resize(picture, (drawn.shape[0], drawn.shape[1]))
    gap = np.full((drawn.shape[0], 8, 3), 255, np.uint8)
    return np.hstack([plain, gap, drawn])


def _number(canvas: np.ndarray, number: int, at_xy: tuple[int, int], thick: int) -> None:
    size = max(0.35, max(canvas.shape[:2]) / 1100)
    (width, height), _ = cv2.getTextSize(str(number), cv2.FONT_HERSHEY_SIMPLEX, size, thick)
    x = int(np.clip(at_xy[0], 0, canvas.shape[1] - width - 4))
    y = int(np.clip(at_xy[1] - 4, height + 4, canvas.shape[0] - 2))
    cv2.rectangle(canvas, (x, y - height - 4), (x + width + 4, y + 3), (20, 20, 20), -1)
    cv2.putText(
        canvas,
        str(number),
        (x + 2, y),
        cv2.FONT_HERSHEY_SIMPLEX,
        size,
        (64, 224, 255),
        thick,
        cv2.LINE_AA,
    )
