"""Pictures with the exact mask of each thing on them: product, parts, loose things, defects.

What a model that segments anything learns from.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from anomalyst.synthetic.procedural.camera import bending, bent, photograph
from anomalyst.synthetic.procedural.defects import DEFECTS, apply_defect
from anomalyst.synthetic.procedural.families import draw_product
from anomalyst.synthetic.procedural.product import ProductSpec
from anomalyst.synthetic.procedural.render import SUBPIXEL_BITS, draw
from anomalyst.synthetic.procedural.scene import Scene
from anomalyst.synthetic.sampling import Rng, one_of

PRODUCT = "product"
# They take something of the product away, so that its drawn outline is no longer its own.
RESHAPING = frozenset({"hole", "chip", "broken off", "fracture", "edge fault", "bend"})
DEFECTIVE_SHARE = 0.75  # of the pictures
LEAST_PX = 12  # of a thing that counts
LEAST_SEEN = 0.5  # of a part that others cover
LEAST_CONTRAST = 0.04  # between a part's rim and what lies around it, of [0, 1]


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing on a picture."""

    name: str  # "product", "screw", "scratch"
    mask: np.ndarray  # bool (S, S)
    defect: bool = False


def picture_of_things(
    seed: int | Sequence[int],
    size_px: int,
    *,
    only: Sequence[str] = (),
    without: Sequence[str] = (),
) -> tuple[np.ndarray, list[Thing]]:
    """A drawn picture, uint8 (S, S, 3), and what is on it; the same seed gives the same bytes.

    `only`, `without`: families that products are of.
    """
    rng = np.random.default_rng(seed)
    spec = draw_product(rng, only=only or None, without=without)
    scene = draw(spec, int(rng.integers(1 << 62)), size_px)
    things = _product(spec, scene) + _parts(scene)
    if rng.random() < DEFECTIVE_SHARE:
        things = _with_defects(scene, things, rng)
    source = bending(spec.camera, rng, size_px)
    moved = [Thing(one.name, bent(one.mask, source), one.defect) for one in things]
    picture = photograph(bent(scene.image, source), spec.camera, rng)
    return picture, [one for one in moved if one.mask.sum() >= LEAST_PX]


def _product(spec: ProductSpec, scene: Scene) -> list[Thing]:
    if spec.body is None:
        return []
    return [Thing(PRODUCT, scene.foreground > 0.5)]


def _parts(scene: Scene) -> list[Thing]:
    """What was laid on the product and can be seen, less what lies on top of it."""
    covered = np.zeros(scene.image.shape[:2], bool)
    found = []
    for part, contours in reversed(scene.placed):
        if not part.inside:
            continue
        filled = np.zeros(covered.shape, np.uint8)
        scaled = [np.int32(one * (1 << SUBPIXEL_BITS)) for one in contours]
        cv2.fillPoly(filled, scaled, 1, cv2.LINE_8, SUBPIXEL_BITS)
        whole = (filled > 0) & (scene.foreground > 0.5)
        seen = whole & ~covered
        covered |= whole
        if seen.sum() > LEAST_SEEN * whole.sum() and _stands_out(scene.image, seen):
            found.append(Thing(part.name, seen))
    return found[::-1]


def _stands_out(image: np.ndarray, mask: np.ndarray) -> bool:
    """Whether the picture changes at the mask's rim."""
    kernel = np.ones((5, 5), np.uint8)
    solid = mask.astype(np.uint8)
    inner = mask & (cv2.erode(solid, kernel) == 0)
    outer = (cv2.dilate(solid, kernel) > 0) & ~mask
    if not inner.any() or not outer.any():
        return False
    change = np.abs(image[inner].mean(0) - image[outer].mean(0)).max()
    return bool(change > LEAST_CONTRAST)


def _with_defects(scene: Scene, things: list[Thing], rng: Rng) -> list[Thing]:
    """One to three defects planted; parts that they touch no longer have their drawn outline."""
    for _ in range(int(rng.choice([1, 1, 2, 3]))):
        kind = one_of(rng, list(DEFECTS))
        mask = apply_defect(scene, rng, kind)
        if not mask.any():
            continue
        kept = [
            one
            for one in things
            if (one.name == PRODUCT and kind not in RESHAPING) or not (one.mask & mask).any()
        ]
        things = [*kept, Thing(kind, mask, defect=True)]
    return things
