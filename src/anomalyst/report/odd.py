"""A good picture with the places that look odd beside the other good pictures."""

import numpy as np

from anomalyst.io.geometry import resize
from anomalyst.report.overlay import MAX_SIDE_PX, outlined, shown_size
from anomalyst.teaching.odd import OddPicture


def odd_drawing(
    picture: np.ndarray, odd: OddPicture, *, max_side_px: int = MAX_SIDE_PX
) -> np.ndarray:
    """uint8 RGB (H, W, 3) -> the same with its odd places outlined, at most so large a side."""
    size_hw = shown_size(picture.shape[:2], max_side_px)
    scale_xy = size_hw[1] / picture.shape[1], size_hw[0] / picture.shape[0]
    no_map = np.zeros(size_hw, np.float32)  # each region brings its outline
    return outlined(resize(picture, size_hw), no_map, odd.regions, scale_xy)
