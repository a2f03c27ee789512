"""Patches of good pictures blended in where they do not belong.

Natural synthetic anomalies (NSA; Schlüter, Liang, Pan, Hou and Balntas, ECCV 2022, section 3.1),
as AnomalyGPT uses them: sides from a gamma distribution, patches that show the product, laid on
the product, blended by Poisson editing, labelled by how much they visibly changed.
"""

import cv2
import numpy as np

from anomalyst.synthetic.anomalies.base import Ground, Planted, blended
from anomalyst.synthetic.sampling import Rng

SHAPE, SCALE, LEAST_HALF = 2.0, 0.05, 0.03  # of half a side, as a share of the picture's
OVERLAP = 0.25  # of the patch's product that must come to lie on the product
ANOMALOUS_FROM = 0.3  # soft label
TRIES = 200
LEAST_SIDE_PX = 5  # of a patch: OpenCV cannot blend what is smaller
LEAST_PX = 50 / 224**2  # of product in a patch, as a share of the picture

Box = tuple[int, int, int, int]  # x, y, width, height


def plant(ground: Ground, rng: Rng) -> Planted | None:
    """A patch of the donor in another place; None if no place was found, or nothing is seen."""
    size_hw = ground.picture.shape[:2]
    x, y, width, height = _source_box(ground, rng)
    window = np.s_[y : y + height, x : x + width]
    patch, shown = ground.donor[window], ground.donor_product[window].astype(np.uint8)
    if not shown.any():
        return None
    factor = float(np.clip(rng.normal(1, 0.5), *ground.traits.resize))
    wide, tall = _sides((width * factor, height * factor), ground)
    if min(wide, tall) < LEAST_SIDE_PX:
        return None
    patch = cv2.resize(patch, (wide, tall), interpolation=cv2.INTER_LINEAR)
    shown = cv2.resize(shown, (wide, tall), interpolation=cv2.INTER_NEAREST) > 0
    place = _place(ground, shown, rng)
    if place is None:
        return None
    u, v = place
    either = shown | ground.product[v : v + tall, u : u + wide]
    if either.sum() < LEAST_PX * size_hw[0] * size_hw[1]:
        return None
    picture = blended(ground.picture, patch, (u, v), cv2.NORMAL_CLONE)
    change = cv2.absdiff(picture, ground.picture).mean(2).astype(np.uint8)
    mask = ground.traits.soft_label(change) > ANOMALOUS_FROM
    return Planted(
        picture=picture,
        mask=mask,
        what="a patch that belongs elsewhere",
        parameters={"from_xywh": [x, y, width, height], "to_xywh": [u, v, wide, tall]},
    )


def _source_box(ground: Ground, rng: Rng) -> Box:
    """A box of the donor that shows some of the product, if 200 tries find one."""
    size_hw = ground.donor.shape[:2]
    halves = LEAST_HALF + rng.gamma(SHAPE, SCALE, 2)
    width, height = _sides((2 * halves[0] * size_hw[1], 2 * halves[1] * size_hw[0]), ground)
    for _ in range(TRIES):
        x = int(rng.integers(0, size_hw[1] - width + 1))
        y = int(rng.integers(0, size_hw[0] - height + 1))
        if ground.donor_product[y : y + height, x : x + width].any():
            break
    return x, y, width, height


def _sides(wanted_wh: tuple[float, float], ground: Ground) -> tuple[int, int]:
    """Within the product's bounds, in pixels; the picture's border stays free."""
    height, width = ground.picture.shape[:2]
    wide = np.clip(wanted_wh[0], *(np.array(ground.traits.width) * width))
    tall = np.clip(wanted_wh[1], *(np.array(ground.traits.height) * height))
    return min(width - 3, max(4, round(float(wide)))), min(height - 3, max(4, round(float(tall))))


def _place(ground: Ground, shown: np.ndarray, rng: Rng) -> tuple[int, int] | None:
    """Where (x, y) the patch's product lies enough on the product; None after 200 tries."""
    (tall, wide), (height, width) = shown.shape, ground.product.shape
    least = OVERLAP * shown.sum()
    for _ in range(TRIES):
        x, y = int(rng.integers(1, width - wide)), int(rng.integers(1, height - tall))
        if (shown & ground.product[y : y + tall, x : x + wide]).sum() > least:
            return x, y
    return None
