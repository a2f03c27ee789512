"""Learning from a false alarm: what of a picture a person called normal, as one more good picture.

The accepted places come from the picture, and so does all that looked ordinary on it. Whatever else
looked odd is covered with the most similar good picture, so that nothing is learnt that nobody
vouched for.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch

from anomalyst.detection.detector import Detector
from anomalyst.io.geometry import Frame, resize

Box = tuple[int, int, int, int]
ODD_FROM = 0.15  # of the map: what the overlay shows of it
GROWN = 0.02  # of the picture's longer side, around what is accepted and what is covered
SEAM = 0.01  # of the picture's longer side: how soft the border of a cover is


def kept_mask(anomaly_map: np.ndarray, boxes: Sequence[Box]) -> np.ndarray:
    """Bool (H, W): the accepted boxes, and all that a map (H, W) in [0, 1] finds ordinary."""
    margin = max(1, round(GROWN * max(anomaly_map.shape)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
    odd = cv2.dilate((anomaly_map >= ODD_FROM).astype(np.uint8), disc)
    kept = odd == 0
    for x0, y0, x1, y1 in boxes:
        kept[max(0, y0 - margin) : y1 + margin, max(0, x0 - margin) : x1 + margin] = True
    return kept


def covered(picture: np.ndarray, kept: np.ndarray, good: np.ndarray) -> np.ndarray:
    """The picture (H, W, 3), with a good one where it is not kept; the border between is soft."""
    if kept.all():
        return picture
    softness = max(1.0, SEAM * max(picture.shape[:2]))
    share = cv2.GaussianBlur(kept.astype(np.float32), (0, 0), softness)[..., None]
    below = resize(good, (picture.shape[0], picture.shape[1]))
    return np.round(picture * share + below * (1 - share)).astype(np.uint8)


def most_similar_picture(
    detector: Detector, frame: Frame, picture: np.ndarray, good: Sequence[np.ndarray]
) -> np.ndarray:
    """The good picture whose embedding is nearest to the picture's."""
    seen = [detector.encode(frame.cut(one).canvases).embedding.mean(0) for one in (picture, *good)]
    return good[int(torch.cdist(seen[0][None], torch.stack(seen[1:])).argmin())]
