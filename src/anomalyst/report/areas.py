"""A product's areas drawn on its first good picture."""

import cv2
import numpy as np

from anomalyst.io.areas import Area, Areas
from anomalyst.io.geometry import resize
from anomalyst.report.hatching import hatched, shrunk
from anomalyst.report.overlay import MAX_SIDE_PX, shown_size

COLOURS = {"ignore": (255, 170, 60), "roi": (90, 220, 120)}


def drawn_areas(picture: np.ndarray, areas: Areas) -> np.ndarray:
    """The first good picture, uint8 RGB (H, W, 3), with its areas: at most `MAX_SIDE_PX` a side."""
    size_hw = shown_size(picture.shape[:2], MAX_SIDE_PX)
    shown = hatched(resize(picture, size_hw), shrunk(~areas.counted, size_hw))
    thick = max(2, round(max(size_hw) / 300))
    for area in areas.drawn:
        _outline(shown, area, areas.size_hw, thick)
    return shown


def _outline(canvas: np.ndarray, area: Area, size_hw: tuple[int, int], thick: int) -> None:
    """The area's outline and its name in the colour of its use."""
    mask = shrunk(area.covered(size_hw), canvas.shape[:2]).astype(np.uint8)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return  # thinner than a pixel of the smaller picture
    cv2.drawContours(canvas, outlines, -1, (0, 0, 0), thick + 2, cv2.LINE_AA)
    cv2.drawContours(canvas, outlines, -1, COLOURS[area.use], thick, cv2.LINE_AA)
    x, y, _, _ = cv2.boundingRect(max(outlines, key=cv2.contourArea))
    font, scale, pad = cv2.FONT_HERSHEY_SIMPLEX, max(0.45, max(canvas.shape[:2]) / 1400), 3
    text = area.name.encode("ascii", "replace").decode()  # OpenCV's font has no more letters
    (wide, tall), _ = cv2.getTextSize(text, font, scale, 1)
    x = min(x, max(0, canvas.shape[1] - wide - 2 * pad))
    y = max(y, tall + 2 * pad)
    cv2.rectangle(canvas, (x, y - tall - 2 * pad), (x + wide + 2 * pad, y), (20, 20, 20), -1)
    cv2.putText(canvas, text, (x + pad, y - pad), font, scale, COLOURS[area.use], 1, cv2.LINE_AA)
