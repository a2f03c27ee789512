"""Surface defects of the procedural world on photographs of real products."""

from collections.abc import Sequence

import cv2
import numpy as np

from anomalyst.synthetic.anomalies.base import Ground, Planted
from anomalyst.synthetic.foreground import backdrop_colour, has_outline
from anomalyst.synthetic.procedural.defects import DEFECTS, apply_defect
from anomalyst.synthetic.procedural.scene import Scene
from anomalyst.synthetic.sampling import Rng, one_of, pixel_of

REACH = 0.04  # how far a defect may stick out of the product, as a share of the side
OF_SILHOUETTES = ("broken off", "chip", "hole")
ANYWHERE = tuple(kind for kind in DEFECTS if kind not in OF_SILHOUETTES)


def plant(ground: Ground, rng: Rng) -> Planted | None:
    """A scratch, a stain, a chip ... on the product; None if it cannot be seen."""
    outlined = has_outline(ground.product)
    kind = one_of(rng, list(DEFECTS) if outlined else ANYWHERE)
    x, y, side = _window(ground.product, rng)
    inside = (slice(y, y + side), slice(x, x + side))
    product = ground.product[inside].astype(np.float32)
    beside = np.zeros(3)
    if outlined:
        product = cv2.GaussianBlur(product, (0, 0), 0.7)
        beside = backdrop_colour(ground.picture, ground.product)
    picture, mask = drawn(ground.picture, (x, y, side), [kind], rng, (product, beside))
    # Beside the product nothing is a defect: there a bend would only move the ground's own grain.
    reach = max(3, round(REACH * side)) | 1
    near = cv2.dilate(ground.product.astype(np.uint8), np.ones((reach, reach))) > 0
    picture, mask = np.where(near[..., None], picture, ground.picture), mask & near
    article = "an" if kind[0] in "aeiou" else "a"
    what = kind if kind in ("particles", "discolouration", "wrong texture") else f"{article} {kind}"
    return Planted(picture=picture, mask=mask, what=what, parameters={"kind": kind})


def drawn(
    image: np.ndarray,
    window_xys: tuple[int, int, int],
    kinds: Sequence[str],
    rng: Rng,
    product: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """A defect of one of the kinds in a square window: (uint8 (H, W, 3), bool (H, W)).

    `window_xys` is x, y and side; `product` says where in it the product is, float32 (side, side)
    in [0, 1], and the colour (3,) in [0, 255] beside it; without, the surface fills the window.
    """
    x, y, side = window_xys
    window = image[y : y + side, x : x + side].astype(np.float32) / 255
    if product is None:
        ring = np.concatenate([window[0], window[-1], window[:, 0], window[:, -1]])
        foreground, colour = np.ones((side, side), np.float32), np.median(ring, axis=0)
    else:
        foreground, colour = product[0], product[1] / 255
    turn = rng.uniform(0, 2 * np.pi)
    scene = Scene(
        image=window.copy(),
        backdrop=np.broadcast_to(colour, window.shape).astype(np.float32).copy(),
        foreground=foreground,
        matrix=np.array([[0.4, 0, 0.5], [0, 0.4, 0.5]], np.float32) * side,
        light_xy=(float(np.cos(turn)), float(np.sin(turn))),
    )
    one = apply_defect(scene, rng, one_of(rng, kinds))
    defective, mask = image.copy(), np.zeros(image.shape[:2], bool)
    defective[y : y + side, x : x + side] = np.clip(scene.image, 0, 1) * 255 + 0.5
    mask[y : y + side, x : x + side] = one
    return defective, mask


def _window(product: np.ndarray, rng: Rng) -> tuple[int, int, int]:
    """The largest square that holds a random spot of the product: x, y, side."""
    height, width = product.shape
    side = min(height, width)
    x, y = pixel_of(product, rng)
    left = int(np.clip(x - rng.integers(side), 0, width - side))
    top = int(np.clip(y - rng.integers(side), 0, height - side))
    return left, top, side
