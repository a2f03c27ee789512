"""Defects on photographs: a good picture of a real product -> a defective one and its mask.

Half are patches of other good pictures blended in elsewhere (NSA: Schlüter et al. 2022, section
3.1; CutPaste: Li et al. 2021), half are surface defects of the procedural world.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from anomalyst.synthetic.anomalies.base import blended, changed
from anomalyst.synthetic.anomalies.procedural_defects import ANYWHERE, drawn
from anomalyst.synthetic.sampling import Rng, log_uniform

PASTED_SHARE = 0.5  # of the defects; the others are drawn
SIDES = (0.02, 0.3)  # least and greatest side of a pasted patch, as shares of the picture's


def with_defects(
    picture: np.ndarray, donors: Sequence[np.ndarray], rng: Rng
) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (h, w, 3) -> the same with one or two defects, and bool (h, w) where they are.

    `donors` are good pictures of the same size. Now and then no defect can be seen; then the mask
    is empty.
    """
    image, mask = picture, np.zeros(picture.shape[:2], bool)
    for _ in range(int(rng.choice([1, 1, 2]))):
        donor = donors[int(rng.integers(len(donors)))]
        pasted = rng.random() < PASTED_SHARE
        image, one = _pasted(image, donor, rng) if pasted else _drawn(image, rng)
        mask |= one
    return image, mask


def _pasted(image: np.ndarray, donor: np.ndarray, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """A patch of a donor, cut from one place and blended into another."""
    height, width = image.shape[:2]
    h, w = (max(3, round(log_uniform(rng, *SIDES) * side)) for side in (height, width))
    y, x = int(rng.integers(1, height - h)), int(rng.integers(1, width - w))
    v, u = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
    patch = donor[v : v + h, u : u + w]
    if rng.random() < 0.5:
        patch = np.ascontiguousarray(patch[:, ::-1])
    defective = image.copy()
    if rng.random() < 0.5 and min(h, w) >= 8:
        defective = blended(image, patch, (x, y), cv2.MIXED_CLONE)
    else:
        defective[y : y + h, x : x + w] = patch
    return defective, changed(image, defective)


def _drawn(image: np.ndarray, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """A surface defect of the procedural world on a random square of the picture."""
    height, width = image.shape[:2]
    side = min(height, width)
    y, x = int(rng.integers(0, height - side + 1)), int(rng.integers(0, width - side + 1))
    return drawn(image, (x, y, side), ANYWHERE, rng)
