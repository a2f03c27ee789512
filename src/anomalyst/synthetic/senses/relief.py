"""What a depth camera sees: how far each point is, from the layout's outlines and the defects."""

import zlib
from dataclasses import dataclass

import cv2
import numpy as np

from anomalyst.synthetic.procedural.product import Part, ProductSpec
from anomalyst.synthetic.procedural.scene import Scene
from anomalyst.synthetic.sampling import Rng
from anomalyst.synthetic.senses.conditions import STANDS_MM, SWELLS_MM

STANDOFF_MM = 400.0  # from the camera to what the product lies on
NOISE_MM = 0.08  # standard deviation
STEEP_MM = 1.6  # change from pixel to pixel at which the sensor may see nothing
BLIND_SHARE = 0.5  # of such pixels
OPENINGS = frozenset({"hole", "bore"})  # parts that go down instead of up


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault as drawn: its kind in the world's words, where it is, how much it changed."""

    kind: str
    mask: np.ndarray  # bool (S, S), before the picture was bent
    severity: float  # mean visible change, [0, 1]
    of_layout: bool


def heights_mm(
    scene: Scene, spec: ProductSpec, product_seed: int, fault: Fault | None
) -> np.ndarray:
    """Height above the ground, float32 (S, S) mm, without noise: the same seed, the same heights.

    Parts stand on what lies below them. A fault of the layout is in the scene already.
    """
    size = scene.size_px
    heights = np.zeros((size, size), np.float32)
    for part, contours in scene.placed:
        _lay(heights, scene, part, contours, _height_of(part, spec, product_seed))
    if fault is not None and not fault.of_layout:
        _deface(heights, fault, scene.unit)
    return np.maximum(heights, 0.0 if spec.body is not None else -8.0)


def as_seen(heights: np.ndarray, rng: Rng) -> np.ndarray:
    """Heights -> noisy distance from the camera, float32 mm; NaN where an edge is too steep."""
    noise = rng.standard_normal(heights.shape, np.float32) * NOISE_MM
    blind = rng.random(heights.shape, np.float32) < BLIND_SHARE
    steep = cv2.morphologyEx(heights, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 2 * STEEP_MM
    depth = STANDOFF_MM - heights + noise
    depth[steep & blind] = np.nan
    return depth


def _height_of(part: Part, spec: ProductSpec, product_seed: int) -> float:
    """A part's own height in mm: all of one name in a product are alike."""
    rng = np.random.default_rng((product_seed, zlib.crc32(part.name.encode())))
    share = rng.uniform(0.6, 1.4)
    if not part.inside and part.name == spec.noun:
        return float((3.0 + 12.0 * spec.body_half) * share)  # the body
    if part.name in OPENINGS:
        return float(-4.0 * share)
    return float((0.8 + 14.0 * min(part.half_size, 0.4)) * share * (0.5 + part.bevel))


def _lay(
    heights: np.ndarray, scene: Scene, part: Part, contours: list[np.ndarray], top_mm: float
) -> None:
    """Add one outline's solid, its rim rounded as far as the picture shows a bevel."""
    size = scene.size_px
    x0, y0 = np.clip(np.floor(contours[0].min(0)).astype(int) - 1, 0, size)
    x1, y1 = np.clip(np.ceil(contours[0].max(0)).astype(int) + 2, 0, size)
    if x1 <= x0 or y1 <= y0:
        return
    mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
    cv2.fillPoly(mask, [np.int32((c - (x0, y0)) * 16) for c in contours], 1, cv2.LINE_8, 4)
    if part.inside:
        mask[scene.foreground[y0:y1, x0:x1] < 0.5] = 0
    rim = 0.7 + 8.0 * part.bevel * scene.unit
    inner = np.minimum(cv2.distanceTransform(mask, cv2.DIST_L2, 3), 1e3) / rim
    heights[y0:y1, x0:x1] += np.float32(top_mm) * np.sqrt(np.clip(inner, 0, 1)) * mask


def _deface(heights: np.ndarray, fault: Fault, unit: float) -> None:
    """What a defect of surface or shape takes away or adds, in place."""
    size = 0.6 + min(1.0, fault.severity)
    mask = fault.mask.astype(np.float32)
    if fault.kind in SWELLS_MM:
        bowl = cv2.GaussianBlur(mask, (0, 0), 3.0 * unit)
        heights += np.float32(SWELLS_MM[fault.kind] * size / max(0.3, bowl.max())) * bowl
    else:
        heights += np.float32(STANDS_MM.get(fault.kind, 0.0) * size) * mask
