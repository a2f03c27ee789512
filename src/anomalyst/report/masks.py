"""A picture with masks, and the clicks and boxes that asked for them."""

from collections.abc import Sequence

import cv2
import numpy as np

from anomalyst.io.geometry import resize
from anomalyst.report.overlay import MARK, shown_size
from anomalyst.segmentation.prompts import Prompt

OPACITY = 0.4
GOLDEN = 0.618034  # of the circle between the hues of two things
ON, BESIDE = (80, 220, 80), (230, 60, 60)  # clicks


def drawn_masks(
    picture: np.ndarray, masks: Sequence[np.ndarray], asked: Prompt | None = None
) -> np.ndarray:
    """uint8 RGB at most 1600 px on a side; several masks each in a colour of its own."""
    size_hw = shown_size(picture.shape[:2])
    shown = resize(picture, size_hw).astype(np.float32)
    thick = max(1, round(max(size_hw) / 500))
    for index, mask in enumerate(masks):
        inside = resize(mask.astype(np.float32), size_hw) >= 0.5
        paint(shown, inside, MARK if len(masks) == 1 else hue_colour(index * GOLDEN % 1), thick)
    if asked is not None:
        _draw_prompt(shown, asked, size_hw[1] / picture.shape[1], thick)
    return shown.round().astype(np.uint8)


def _draw_prompt(shown: np.ndarray, asked: Prompt, scale: float, thick: int) -> None:
    for (x, y), positive in zip(asked.points_xy, asked.positive, strict=True):
        at = round(x * scale), round(y * scale)
        cv2.circle(shown, at, 4 * thick, (255, 255, 255), -1, cv2.LINE_AA)
        cv2.circle(shown, at, 3 * thick, ON if positive else BESIDE, -1, cv2.LINE_AA)
    if asked.box_xyxy is not None:
        x0, y0, x1, y1 = (round(one * scale) for one in asked.box_xyxy)
        cv2.rectangle(shown, (x0, y0), (x1, y1), ON, thick, cv2.LINE_AA)


def paint(
    shown: np.ndarray, inside: np.ndarray, colour: tuple[float, float, float], thick: int
) -> None:
    """Tint a thing, bool (H, W), on float32 RGB (H, W, 3) up to 255, and outline it, in place."""
    shown[inside] += OPACITY * (np.array(colour, np.float32) - shown[inside])
    outlines, _ = cv2.findContours(
        inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    cv2.drawContours(shown, outlines, -1, colour, thick, cv2.LINE_AA)


def hue_colour(hue: float) -> tuple[float, float, float]:
    """A bright colour by its place on the circle of hues, [0, 1): RGB up to 255."""
    hsv = np.array([[[hue * 360, 0.85, 1.0]]], np.float32)
    red, green, blue = (cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0] * 255).tolist()
    return red, green, blue
