"""Defects of the outline: what a product or a part of it has lost or gained at an edge."""

import cv2
import numpy as np

from anomalyst.synthetic.procedural.defects.surface import crack, particles
from anomalyst.synthetic.procedural.material import draw_material, render
from anomalyst.synthetic.procedural.noise import slow_field
from anomalyst.synthetic.procedural.scene import Scene, as_float, random_walk
from anomalyst.synthetic.sampling import Rng


def hole(scene: Scene, rng: Rng) -> np.ndarray:
    at, radius = scene.random_spot(rng), scene.random_radius(rng, 0.012, 0.1)
    spot = scene.draw_blob(rng, at, radius, 0.12) * scene.foreground
    if rng.random() < 0.5:
        rim = scene.draw_blob(rng, at, radius * 1.35, 0.3) * scene.foreground
        scene.paint(rim * 0.5, scene.contrasting_colour(at, rng))
    if rng.random() < 0.4:
        scene.paint(spot, scene.backdrop)
    else:
        scene.paint(spot, np.full(3, rng.choice([0.03, 0.1, 0.95])) + rng.normal(size=3) * 0.02)
    return spot


def chip(scene: Scene, rng: Rng) -> np.ndarray:
    at = scene.random_edge_spot(rng, scene.foreground)
    if at is None:
        return hole(scene, rng)
    spot = scene.draw_blob(rng, at, scene.random_radius(rng, 0.025, 0.14), 0.1) * scene.foreground
    if rng.random() < 0.65:
        scene.paint(spot, scene.backdrop)
    else:
        broken = draw_material(rng, looks=("grain", "cloud"))
        scene.paint(spot, render(broken, rng, spot.shape, 1.0))
    return spot


def _side(scene: Scene, rng: Rng, share: float) -> np.ndarray | None:
    """A rough-edged part of the product beyond a line, holding about `share` of it; (S, S)."""
    turn = rng.uniform(0, 2 * np.pi)
    columns, rows = scene.offsets((0, 0))
    reach = columns * np.cos(turn) + rows * np.sin(turn)
    inside = scene.foreground > 0.5
    if inside.mean() < 0.02 or inside.mean() > 0.97:
        return None
    limit = np.quantile(reach[inside], 1 - share)
    rough = slow_field(rng, scene.size_px, rng.uniform(0.3, 1.0)) * rng.uniform(0.5, 5)
    return np.clip(reach - limit + rough, 0, 1).astype(np.float32) * scene.foreground


def broken_off(scene: Scene, rng: Rng) -> np.ndarray:
    lost = _side(scene, rng, rng.uniform(0.05, 0.45))
    if lost is None:
        return hole(scene, rng)
    scene.paint(lost, scene.backdrop)
    return lost


def fracture(scene: Scene, rng: Rng) -> np.ndarray:
    """The product broken in two, the pieces moved apart."""
    part = _side(scene, rng, rng.uniform(0.15, 0.5))
    if part is None:
        return crack(scene, rng)
    gap = rng.uniform(0.015, 0.07) * scene.size_px
    ys, xs = np.nonzero(part > 0.5)
    if len(ys) == 0:
        return part
    centre = (float(xs.mean()), float(ys.mean()))
    matrix = cv2.getRotationMatrix2D(centre, rng.uniform(-12, 12), 1.0)
    away = np.array(centre) - np.array(np.nonzero(scene.foreground > 0.5)).mean(1)[::-1]
    matrix[:, 2] += away / (np.linalg.norm(away) + 1e-6) * gap
    size_wh = (scene.size_px, scene.size_px)
    moved = cv2.warpAffine(scene.image, matrix, size_wh, borderMode=cv2.BORDER_REFLECT)
    alpha = cv2.warpAffine(part, matrix, size_wh)
    scene.paint(part, scene.backdrop)
    scene.paint(alpha, moved)
    # Only the crack and its lips are anomalous: the moved piece itself is normal.
    rim = np.clip(part - alpha, 0, 1) + np.clip(alpha - scene.foreground, 0, 1)
    return as_float(np.clip(rim, 0, 1))


def edge_fault(scene: Scene, rng: Rng) -> np.ndarray:
    """A bite out of an edge, a spur on it, a bridge or a gap: one side's colour over the other."""
    at = scene.random_edge_spot(rng, scene.image.mean(2))
    if at is None:
        return particles(scene, rng)
    turn, reach = rng.uniform(0, 2 * np.pi), rng.uniform(3, 6) * scene.unit
    beside = (at[0] + reach * np.cos(turn), at[1] + reach * np.sin(turn))
    x, y = (int(np.clip(value, 0, scene.size_px - 1)) for value in beside)
    colour = scene.image[y, x].copy()
    if rng.random() < 0.6:
        spot = scene.draw_blob(rng, at, rng.uniform(1.5, 6) * scene.unit, 0.2)
    else:
        points = random_walk(at, rng, rng.uniform(6, 22) * scene.unit, 0.15, 6)
        spot = scene.draw_stroke(points, rng.uniform(1.5, 4) * scene.unit)
    scene.paint(spot, colour)
    return spot
