"""Defects on photographs: a good picture of a real product -> a spoiled one and its mask.

Half are patches of other good pictures blended in elsewhere (NSA: Schlüter et al. 2022, section
3.1; CutPaste: Li et al. 2021), half are surface defects of the procedural world.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from anomalyst.synthesis.world.defects import DEFECTS, apply_defect
from anomalyst.synthesis.world.render import Scene

PASTED_SHARE = 0.5  # of the defects; the others are drawn
VISIBLE = 0.05  # least mean change of a pixel's colour that counts, of [0, 1]
SIDES = (0.02, 0.3)  # least and greatest side of a pasted patch, as shares of the picture's
DRAWN = tuple(k for k in DEFECTS if k not in ("broken off", "chip", "hole"))  # need a silhouette


def spoil(
    picture: np.ndarray, donors: Sequence[np.ndarray], rng: np.random.Generator
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


def _pasted(
    image: np.ndarray, donor: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A patch of a donor, cut from one place and blended into another."""
    height, width = image.shape[:2]
    h, w = (_side(rng, side) for side in (height, width))
    y, x = int(rng.integers(1, height - h)), int(rng.integers(1, width - w))
    v, u = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
    patch = donor[v : v + h, u : u + w]
    if rng.random() < 0.5:
        patch = np.ascontiguousarray(patch[:, ::-1])
    spoiled = image.copy()
    if rng.random() < 0.5 and min(h, w) >= 8:
        centre = (x + w // 2, y + h // 2)
        whole = np.full((h, w), 255, np.uint8)
        spoiled = cv2.seamlessClone(patch, image, whole, centre, cv2.MIXED_CLONE)
    else:
        spoiled[y : y + h, x : x + w] = patch
    return spoiled, _changed(image, spoiled)


def _drawn(image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A surface defect of the procedural world on a random square of the picture."""
    height, width = image.shape[:2]
    side = min(height, width)
    y, x = int(rng.integers(0, height - side + 1)), int(rng.integers(0, width - side + 1))
    window = image[y : y + side, x : x + side].astype(np.float32) / 255
    edge = np.median(np.concatenate([window[0], window[-1], window[:, 0], window[:, -1]]), axis=0)
    turn = rng.uniform(0, 2 * np.pi)
    scene = Scene(
        image=window.copy(),
        backdrop=np.broadcast_to(edge, window.shape).astype(np.float32).copy(),
        foreground=np.ones((side, side), np.float32),
        matrix=np.array([[0.4, 0, 0.5], [0, 0.4, 0.5]], np.float32) * side,
        light_xy=(float(np.cos(turn)), float(np.sin(turn))),
    )
    one = apply_defect(scene, rng, str(rng.choice(DRAWN)))
    spoiled, mask = image.copy(), np.zeros((height, width), bool)
    spoiled[y : y + side, x : x + side] = np.clip(scene.image, 0, 1) * 255 + 0.5
    mask[y : y + side, x : x + side] = one
    return spoiled, mask


def _side(rng: np.random.Generator, whole: int) -> int:
    """Log-uniform between two shares of a side, in pixels; at least 3."""
    share = np.exp(rng.uniform(np.log(SIDES[0]), np.log(SIDES[1])))
    return max(3, round(float(share) * whole))


def _changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    change = np.abs(after.astype(np.float32) - before).mean(2) / 255
    mask = cv2.morphologyEx((change > VISIBLE).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5)))
    return cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((2, 2))).astype(bool)
