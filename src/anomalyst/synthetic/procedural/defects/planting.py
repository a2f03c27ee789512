"""Every kind of drawn defect, and how one is planted on an instance."""

from collections.abc import Callable

import cv2
import numpy as np

from anomalyst.synthetic.procedural.defects import shape, surface
from anomalyst.synthetic.procedural.scene import Scene
from anomalyst.synthetic.sampling import Rng

# Each alters `scene.image` in place and says how strongly each pixel was touched.
Maker = Callable[[Scene, Rng], np.ndarray]

DEFECTS: dict[str, Maker] = {
    "scratch": surface.scratch,
    "crack": surface.crack,
    "cut": surface.cut,
    "stain": surface.stain,
    "hole": shape.hole,
    "dent": surface.dent,
    "chip": shape.chip,
    "broken off": shape.broken_off,
    "fracture": shape.fracture,
    "particles": surface.particles,
    "fibre": surface.fibre,
    "foreign body": surface.foreign_body,
    "discolouration": surface.discolouration,
    "smear": surface.smear,
    "fold": surface.fold,
    "wrong texture": surface.wrong_texture,
    "bend": surface.bend,
    "edge fault": shape.edge_fault,
}

# Their makers touch more than they change, so the visible share says nothing about failure.
_BY_CHANGE = frozenset({"dent", "bend", "fold", "smear", "fracture", "edge fault", "broken off"})


def apply_defect(scene: Scene, rng: Rng, kind: str) -> np.ndarray:
    """Put one defect of `kind` on the scene -> bool (S, S), the pixels that visibly changed.

    An empty mask means that it could not be seen (white stain on white); the scene is unharmed.
    """
    before = scene.image.copy()
    touched = DEFECTS[kind](scene, rng)
    change = np.abs(scene.image - before).max(2)
    visible = cv2.blur(change, (3, 3)) > 0.045
    mask = (touched > 0.3) & visible
    if mask.sum() < max(4, 0.4 * (touched > 0.3).sum() * (kind not in _BY_CHANGE)):
        scene.image = before
        return np.zeros_like(mask)
    return mask
