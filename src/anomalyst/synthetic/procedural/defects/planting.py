"""Defects of one instance: what wear, handling and accidents leave on it."""

from collections.abc import Callable

import cv2
import numpy as np

from anomalyst.synthetic.procedural import shape_defects, surface_defects
from anomalyst.synthetic.procedural.scene import Scene
from anomalyst.synthetic.sampling import Rng

# Each alters `scene.image` in place and says how strongly each pixel was touched.
Maker = Callable[[Scene, Rng], np.ndarray]

DEFECTS: dict[str, Maker] = {
    "scratch": surface_defects.scratch,
    "crack": surface_defects.crack,
    "cut": surface_defects.cut,
    "stain": surface_defects.stain,
    "hole": shape_defects.hole,
    "dent": surface_defects.dent,
    "chip": shape_defects.chip,
    "broken off": shape_defects.broken_off,
    "fracture": shape_defects.fracture,
    "particles": surface_defects.particles,
    "fibre": surface_defects.fibre,
    "foreign body": surface_defects.foreign_body,
    "discolouration": surface_defects.discolouration,
    "smear": surface_defects.smear,
    "fold": surface_defects.fold,
    "wrong texture": surface_defects.wrong_texture,
    "bend": surface_defects.bend,
    "edge fault": shape_defects.edge_fault,
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
