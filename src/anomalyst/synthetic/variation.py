"""The same good part as another picture might show it: what differs is no defect."""

import cv2
import numpy as np

from anomalyst.synthetic.procedural.camera import slow_noise
from anomalyst.synthetic.sampling import Rng

TURN_DEGREES = 3.0
ZOOM = 0.02
SHIFT = 0.02  # of the longer side
BEND = 0.006  # of the longer side: soft parts, loose parts, perspective
LIGHT = 0.05  # brightness of the whole and, slowly varying, of places
NOISE = 3.0  # grey levels


def varied(picture: np.ndarray, rng: Rng) -> np.ndarray:
    """uint8 (h, w, 3) -> the same shifted, turned, zoomed, bent, lit, blurred and noisy, a little.

    Each change is at most the constant above it; what comes in from outside mirrors the border.
    """
    height, width = picture.shape[:2]
    source = _moved(height, width, rng)
    image = cv2.remap(picture, source, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    light = 1 + rng.uniform(-LIGHT, LIGHT) + LIGHT * slow_noise(rng, height, width)[..., None]
    noise = rng.standard_normal(image.shape, np.float32) * rng.uniform(0, NOISE)
    lit = image.astype(np.float32) * light + rng.uniform(-4, 4) + noise
    if rng.random() < 0.4:
        lit = cv2.GaussianBlur(lit, (0, 0), rng.uniform(0.4, 0.8))
    return np.clip(lit + 0.5, 0, 255).astype(np.uint8)


def _moved(height: int, width: int, rng: Rng) -> np.ndarray:
    """Where each pixel comes from, float32 (h, w, 2) as (x, y)."""
    side = max(height, width)
    turn, zoom = rng.uniform(-TURN_DEGREES, TURN_DEGREES), 1 + rng.uniform(-ZOOM, ZOOM)
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), turn, zoom)
    matrix[:, 2] += rng.uniform(-SHIFT, SHIFT, 2) * side
    axes = np.meshgrid(np.arange(width), np.arange(height))
    straight = np.stack(axes, axis=2) @ matrix[:, :2].T + matrix[:, 2]
    bend = np.stack([slow_noise(rng, height, width) for _ in "xy"], axis=2) * (BEND * side)
    return (straight + bend * rng.random()).astype(np.float32)
