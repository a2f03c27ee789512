"""What does not count, hatched on a picture."""

import numpy as np

from anomalyst.io.geometry import resize
from anomalyst.io.masks import unpacked
from anomalyst.types import Mask

STEP = 0.02  # between two lines of the hatching, as a share of the longer side
DARK, LIGHT, OPACITY = (20, 20, 20), (235, 235, 235), 0.55


def hatch_layer(ignored: np.ndarray) -> np.ndarray:
    """What is laid over a picture where bool (H, W) is true: (H, W, 4), colours and opacity.

    Dark and light lines side by side, so that they are seen on dark and on light pictures.
    """
    height, width = ignored.shape
    step = max(6, round(STEP * max(height, width)))
    rows, columns = np.mgrid[:height, :width]
    phase = (rows + columns) % step
    thick = max(1, step // 6)
    layer = np.zeros((height, width, 4), np.float32)
    for first, colour in ((0, DARK), (thick, LIGHT)):
        line = ignored & (phase >= first) & (phase < first + thick)
        layer[line] = (*colour, OPACITY)
    return layer


def hatched(picture: np.ndarray, ignored: np.ndarray | Mask) -> np.ndarray:
    """uint8 RGB (H, W, 3) with what does not count hatched: bool (H, W), or a mask of any size."""
    if isinstance(ignored, Mask):
        ignored = shrunk(unpacked(ignored), picture.shape[:2])
    layer = hatch_layer(ignored)
    alpha = layer[..., 3:]
    return np.round(picture * (1 - alpha) + layer[..., :3] * alpha).astype(np.uint8)


def shrunk(mask: np.ndarray, size_hw: tuple[int, ...]) -> np.ndarray:
    """Bool (H, W) at the size it is shown at."""
    shown: np.ndarray = resize(mask.astype(np.float32), (size_hw[0], size_hw[1])) > 0.5
    return shown
