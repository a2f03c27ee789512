"""CutPaste: a piece of a good picture, cut out and pasted elsewhere as it is.

Li, Sohn, Yoon and Pfister, CVPR 2021, section 2.1: patches of 2 to 15 % of the picture with an
aspect of 0.3 to 3.3, and scars, thin and turned; brightness, contrast and colour jittered.
"""

import cv2
import numpy as np

from anomalyst.synthetic.anomalies.base import Ground, Planted, changed
from anomalyst.synthetic.sampling import Rng, log_uniform, pixel_of

AREAS = (0.02, 0.15)  # of the picture
ASPECTS = (0.3, 3.3)
SCAR_WIDTHS, SCAR_LENGTHS = (2 / 256, 16 / 256), (10 / 256, 25 / 256)  # of the shorter side
SCAR_DEGREES = 45.0
SCAR_SHARE = 0.5
JITTER = 0.1


def plant(ground: Ground, rng: Rng) -> Planted | None:
    """A patch or a scar of the donor on the product; None if nothing of it would be seen."""
    scar = bool(rng.random() < SCAR_SHARE)
    wide, tall = _scar_sides(ground, rng) if scar else _patch_sides(ground, rng)
    height, width = ground.picture.shape[:2]
    x, y = int(rng.integers(0, width - wide + 1)), int(rng.integers(0, height - tall + 1))
    patch = _jittered(ground.donor[y : y + tall, x : x + wide], rng)
    turn = float(rng.uniform(-SCAR_DEGREES, SCAR_DEGREES)) if scar else 0.0
    centre = pixel_of(ground.product, rng)
    pasted, region = _pasted(ground.picture, patch, centre, turn)
    return Planted(
        picture=pasted,
        mask=changed(ground.picture, pasted) & region,
        what="a pasted scar" if scar else "a pasted patch",
        parameters={
            "from_xywh": [x, y, wide, tall],
            "centre_xy": list(centre),
            "degrees": round(turn, 2),
        },
    )


def _patch_sides(ground: Ground, rng: Rng) -> tuple[int, int]:
    height, width = ground.picture.shape[:2]
    # As a share of the product: on a small part a patch of the whole picture's share would hide it.
    area = rng.uniform(*AREAS) * ground.product.sum()
    aspect = log_uniform(rng, *ASPECTS)
    wide, tall = np.sqrt(area * aspect), np.sqrt(area / aspect)
    return min(width, max(3, round(float(wide)))), min(height, max(3, round(float(tall))))


def _scar_sides(ground: Ground, rng: Rng) -> tuple[int, int]:
    side = min(ground.picture.shape[:2])
    wide, tall = rng.uniform(*SCAR_WIDTHS) * side, rng.uniform(*SCAR_LENGTHS) * side
    return max(2, round(float(wide))), max(3, round(float(tall)))


def _jittered(patch: np.ndarray, rng: Rng) -> np.ndarray:
    """Brightness, contrast and each channel changed by up to a tenth."""
    values = patch.astype(np.float32)
    mean = values.mean((0, 1))
    values = (values - mean) * (1 + rng.uniform(-JITTER, JITTER)) + mean
    values *= 1 + rng.uniform(-JITTER, JITTER)
    if (patch[..., :1] != patch).any():
        values *= 1 + rng.uniform(-JITTER, JITTER, 3) / 2
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _pasted(
    picture: np.ndarray, patch: np.ndarray, centre_xy: tuple[int, int], degrees: float
) -> tuple[np.ndarray, np.ndarray]:
    """The patch, turned, centred there -> (picture, bool (H, W) where it lies)."""
    tall, wide = patch.shape[:2]
    matrix = cv2.getRotationMatrix2D(((wide - 1) / 2, (tall - 1) / 2), degrees, 1.0)
    matrix[:, 2] += np.array(centre_xy) - ((wide - 1) / 2, (tall - 1) / 2)
    size_wh = (picture.shape[1], picture.shape[0])
    moved = cv2.warpAffine(patch, matrix, size_wh, borderMode=cv2.BORDER_REPLICATE)
    solid = np.ones((tall, wide), np.uint8)
    region = cv2.warpAffine(solid, matrix, size_wh, flags=cv2.INTER_NEAREST) > 0
    return np.where(region[..., None], moved, picture), region
