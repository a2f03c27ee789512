"""The picture with its anomaly map over it and its regions outlined.

The colour scale is fixed, 0 to 1: a normal part stays as it is, whatever its own map's range.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from anomalyst.detection.regions import region_level
from anomalyst.io.geometry import resize
from anomalyst.io.masks import unpacked
from anomalyst.report.hatching import hatched
from anomalyst.types import Inspection, Region

MAX_SIDE_PX = 1600
VISIBLE_FROM = 0.15  # of the map: below it the picture is left alone
OPACITY = 0.7  # where the map is 1
DARKEST = 0.3  # where on inferno the scale starts: its black end would hide the part, not mark it
LENGTH = (255, 255, 255)
MARK = (64, 224, 255)  # cyan: on no part of inferno, and seen on dark and light pictures


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
    scale_xy = (size_hw[1] / inspection.size_hw[1], size_hw[0] / inspection.size_hw[0])
    if inspection.ignored is not None:
        shown = hatched(shown, inspection.ignored)
    if inspection.unfit is not None:  # nothing was judged
        return shown
    return outlined(tint(shown, heat), heat, inspection.regions, scale_xy)


def tint(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Lay the map (H, W) in [0, 1] over the picture; opacity grows with the map."""
    layer = heat_layer(heat)
    alpha = layer[..., 3:]
    if not alpha.any():
        return picture.copy()
    return np.round(picture * (1 - alpha) + layer[..., :3] * alpha).astype(np.uint8)


def heat_layer(heat: np.ndarray) -> np.ndarray:
    """The map (H, W) in [0, 1] as what is laid over a picture: (H, W, 4), colours up to 255 and
    opacity up to `OPACITY`."""
    level = np.clip(heat, 0, 1)
    alpha = np.clip((level - VISIBLE_FROM) / (1 - VISIBLE_FROM), 0, 1)[..., None] * OPACITY
    on_inferno = ((DARKEST + (1 - DARKEST) * level) * 255).astype(np.uint8)
    colours = cv2.applyColorMap(on_inferno, cv2.COLORMAP_INFERNO)[..., ::-1]
    return np.concatenate([colours, alpha], axis=2)


def legend_colours(steps: int = 12) -> list[str]:
    """What map values from 0 to 1 look like over mid grey, as #rrggbb."""
    grey = np.full((1, steps, 3), 128, np.uint8)
    shown = tint(grey, np.linspace(0, 1, steps, dtype=np.float32)[None])
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in shown[0].tolist()]


def outlined(
    picture: np.ndarray,
    heat: np.ndarray,
    regions: Sequence[Region],
    scale_xy: tuple[float, float] = (1.0, 1.0),
) -> np.ndarray:
    """Outline each region and number it from 1, in the order given.

    The outline follows a region's mask, or else the map (H, W) of the picture's size; boxes are in
    pixels of the original picture, `scale_xy` brings them to this one. A region too small to be
    seen gets a box around it.
    """
    canvas = picture.copy()
    if not regions:
        return canvas
    thick = max(1, round(max(canvas.shape[:2]) / 400))
    level = region_level(regions)
    boxes = [_shown_box(region, scale_xy, canvas.shape[:2]) for region in regions]
    for region, box in zip(regions, boxes, strict=True):
        inside = _inside(region, heat, box, level)
        contours = _contours(inside, box, least_px=6 * thick)
        cv2.drawContours(canvas, contours, -1, (0, 0, 0), thick + 2, cv2.LINE_AA)
        cv2.drawContours(canvas, contours, -1, MARK, thick, cv2.LINE_AA)
    for region in regions:
        if region.measures:
            _draw_length(canvas, region.measures.line_xy, scale_xy, thick)
    for number, box in enumerate(boxes, start=1):  # after all outlines, so that none is covered
        _write_number(canvas, number, box, thick)
    return canvas


def _draw_length(
    canvas: np.ndarray,
    line_xy: Sequence[tuple[float, float]],
    scale_xy: tuple[float, float],
    thick: int,
) -> None:
    """What was measured as a region's length: a line in `LENGTH` with a dot at each end."""
    # OpenCV's pixels have their centres at whole numbers, ours at halves; sixteenths of a pixel.
    points = np.round((np.array(line_xy) * scale_xy - 0.5) * 16).astype(np.int32)
    cv2.polylines(canvas, [points], False, (0, 0, 0), thick + 2, cv2.LINE_AA, 4)
    cv2.polylines(canvas, [points], False, LENGTH, thick, cv2.LINE_AA, 4)
    for x, y in (points[0].tolist(), points[-1].tolist()):
        cv2.circle(canvas, (x, y), (thick + 1) * 16, LENGTH, -1, cv2.LINE_AA, 4)


Box = tuple[int, int, int, int]


def _shown_box(region: Region, scale_xy: tuple[float, float], size_hw: tuple[int, ...]) -> Box:
    """The region's box in shown pixels, never empty, within the picture."""
    x0, y0, x1, y1 = region.box_xyxy
    left = min(int(x0 * scale_xy[0]), size_hw[1] - 1)
    top = min(int(y0 * scale_xy[1]), size_hw[0] - 1)
    right = max(left + 1, min(round(x1 * scale_xy[0]), size_hw[1]))
    bottom = max(top + 1, min(round(y1 * scale_xy[1]), size_hw[0]))
    return left, top, right, bottom


def _inside(region: Region, heat: np.ndarray, box: Box, level: float) -> np.ndarray:
    """uint8 over the shown box: 1 where the region is."""
    x0, y0, x1, y1 = box
    if region.mask is None:
        return (heat[y0:y1, x0:x1] >= level).astype(np.uint8)
    left, top, right, bottom = region.box_xyxy
    crisp = unpacked(region.mask)[top:bottom, left:right].astype(np.float32)
    return (resize(crisp, (y1 - y0, x1 - x0)) >= 0.5).astype(np.uint8)


def _contours(inside: np.ndarray, box: Box, *, least_px: int) -> Sequence[np.ndarray]:
    """The region's outline; a box with a margin where it would be lost on the eye."""
    x0, y0, x1, y1 = box
    if max(x1 - x0, y1 - y0) >= least_px and inside.any():
        found, _ = cv2.findContours(
            inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE, offset=(x0, y0)
        )
        return found
    x0, y0, x1, y1 = x0 - least_px, y0 - least_px, x1 + least_px, y1 + least_px
    return [np.array([[[x0, y0]], [[x1, y0]], [[x1, y1]], [[x0, y1]]], np.int32)]


def _write_number(canvas: np.ndarray, number: int, box: Box, thick: int) -> None:
    """A small label above the box's upper left corner, or inside it at the picture's edge."""
    font, size = cv2.FONT_HERSHEY_SIMPLEX, max(0.5, max(canvas.shape[:2]) / 1100)
    (width, height), _ = cv2.getTextSize(str(number), font, size, thick)
    pad = 2 + thick
    x = int(np.clip(box[0], 0, max(0, canvas.shape[1] - width - 2 * pad)))
    y = int(np.clip(box[1] - pad, height + 2 * pad, max(height + 2 * pad, canvas.shape[0] - 1)))
    cv2.rectangle(canvas, (x, y - height - 2 * pad), (x + width + 2 * pad, y), (20, 20, 20), -1)
    cv2.putText(canvas, str(number), (x + pad, y - pad), font, size, MARK, thick, cv2.LINE_AA)
