"""Defects of the surface: what wear, handling and accidents leave on one instance.

Every maker alters `scene.image` in place and says how strongly each pixel was touched.
"""

from collections.abc import Callable

import cv2
import numpy as np

from anomalyst.synthetic.procedural import shapes
from anomalyst.synthetic.procedural.brushes import (
    as_float,
    contrasting_colour,
    draw_blob,
    draw_stroke,
    grid_of,
    paint,
    paint_backdrop,
    random_edge_spot,
    random_radius,
    random_spot,
    random_walk,
)
from anomalyst.synthetic.procedural.material import draw_material, render
from anomalyst.synthetic.procedural.render import Scene, slow_field

Maker = Callable[[Scene, np.random.Generator], np.ndarray]


def apply_defect(scene: Scene, rng: np.random.Generator, kind: str) -> np.ndarray:
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


def _scratch(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    unit, at = scene.image.shape[0] / 160, random_spot(scene, rng)
    length = random_radius(scene, rng, 0.08, 0.6)
    total = np.zeros(scene.image.shape[:2], np.float32)
    colour = contrasting_colour(scene, at, rng)
    for _ in range(int(rng.choice([1, 1, 1, 2, 4]))):
        points = random_walk(at, rng, length, rng.uniform(0.0, 0.12), 10)
        line = draw_stroke(
            scene, points, rng.uniform(0.8, 2.4) * unit, tapered=bool(rng.random() < 0.5)
        )
        total = np.maximum(total, line * scene.foreground)
        at = (int(at[0] + rng.normal() * 6 * unit), int(at[1] + rng.normal() * 6 * unit))
    paint(scene, total * rng.uniform(0.4, 1.0), colour)
    return total


def _crack(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    unit, at = scene.image.shape[0] / 160, random_spot(scene, rng)
    length = random_radius(scene, rng, 0.1, 0.7)
    trunk = random_walk(at, rng, length, 0.45, 22)
    width = rng.uniform(0.8, 4.0) * unit
    total = draw_stroke(scene, trunk, width, tapered=True)
    for _ in range(int(rng.integers(0, 4))):
        fork = trunk[int(rng.integers(len(trunk)))]
        branch = random_walk((int(fork[0]), int(fork[1])), rng, length * 0.4, 0.5, 10)
        total = np.maximum(total, draw_stroke(scene, branch, width * 0.6, tapered=True))
    total *= scene.foreground
    depth = rng.uniform(0.35, 0.9)
    paint(scene, total * depth, scene.image[at[1], at[0]] * rng.uniform(0, 0.5))
    return total


def _cut(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    unit, at = scene.image.shape[0] / 160, random_spot(scene, rng)
    points = random_walk(at, rng, random_radius(scene, rng, 0.06, 0.4), 0.03, 8)
    lips = draw_stroke(scene, points, 3.4 * unit, tapered=True) * scene.foreground
    gap = draw_stroke(scene, points, rng.uniform(1.0, 2.4) * unit, tapered=True) * scene.foreground
    paint(scene, lips * rng.uniform(0.2, 0.6), np.clip(scene.image[at[1], at[0]] + 0.25, 0, 1))
    paint(scene, gap * rng.uniform(0.6, 1), np.full(3, rng.uniform(0, 0.2)))
    return lips


def _stain(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    at = random_spot(scene, rng)
    spot = draw_blob(scene, rng, at, random_radius(scene, rng, 0.02, 0.2), rng.uniform(0.1, 0.6))
    spot *= scene.foreground
    strength = rng.uniform(0.25, 0.85)
    if rng.random() < 0.6:
        scene.image *= 1 - (spot * strength)[..., None] * np.float32(rng.uniform(0.2, 1, 3))
    else:
        paint(scene, spot * strength, rng.random(3))
    return spot


def _hole(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    at = random_spot(scene, rng)
    radius = random_radius(scene, rng, 0.012, 0.1)
    spot = draw_blob(scene, rng, at, radius, 0.12) * scene.foreground
    if rng.random() < 0.5:
        rim = draw_blob(scene, rng, at, radius * 1.35, 0.3) * scene.foreground
        paint(scene, rim * 0.5, contrasting_colour(scene, at, rng))
    if rng.random() < 0.4:
        paint_backdrop(scene, spot)
    else:
        paint(scene, spot, np.full(3, rng.choice([0.03, 0.1, 0.95])) + rng.normal(size=3) * 0.02)
    return spot


def _dent(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    at, radius = random_spot(scene, rng), random_radius(scene, rng, 0.03, 0.14)
    rows, columns = grid_of(scene)
    x, y = (columns - at[0]) / radius, (rows - at[1]) / (radius * rng.uniform(0.5, 1.0))
    bowl = np.exp(-(x * x + y * y))
    pull = bowl * radius * rng.uniform(0.2, 0.8) * rng.choice([-1, 1])
    scene.image = cv2.remap(
        scene.image,
        np.float32(columns + pull * x),
        np.float32(rows + pull * y),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    slope = (x * scene.light_xy[0] + y * scene.light_xy[1]) * bowl
    scene.image += (slope * scene.foreground * rng.uniform(0.25, 0.8))[..., None]
    return as_float((bowl > 0.25) * scene.foreground)


def _chip(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    at = random_edge_spot(scene, rng, scene.foreground)
    if at is None:
        return _hole(scene, rng)
    spot = draw_blob(scene, rng, at, random_radius(scene, rng, 0.025, 0.14), 0.1) * scene.foreground
    if rng.random() < 0.65:
        paint_backdrop(scene, spot)
    else:
        broken = render(draw_material(rng, looks=("grain", "cloud")), rng, spot.shape, 1.0)
        scene.image += (broken - scene.image) * spot[..., None]
    return spot


def _side(scene: Scene, rng: np.random.Generator, share: float) -> np.ndarray | None:
    """A rough-edged part of the product beyond a line, holding about `share` of it; (S, S)."""
    rows, columns = grid_of(scene)
    turn = rng.uniform(0, 2 * np.pi)
    reach = columns * np.cos(turn) + rows * np.sin(turn)
    inside = scene.foreground > 0.5
    if inside.mean() < 0.02 or inside.mean() > 0.97:
        return None
    limit = np.quantile(reach[inside], 1 - share)
    rough = slow_field(rng, scene.image.shape[0], rng.uniform(0.3, 1.0)) * rng.uniform(0.5, 5)
    return np.clip(reach - limit + rough, 0, 1).astype(np.float32) * scene.foreground


def _broken_off(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    lost = _side(scene, rng, rng.uniform(0.05, 0.45))
    if lost is None:
        return _hole(scene, rng)
    paint_backdrop(scene, lost)
    return lost


def _fracture(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """The product broken in two, the pieces moved apart."""
    piece = _side(scene, rng, rng.uniform(0.15, 0.5))
    if piece is None:
        return _crack(scene, rng)
    size = scene.image.shape[0]
    before = scene.image.copy()
    gap = rng.uniform(0.015, 0.07) * size
    ys, xs = np.nonzero(piece > 0.5)
    if len(ys) == 0:
        return piece
    centre = (float(xs.mean()), float(ys.mean()))
    matrix = cv2.getRotationMatrix2D(centre, rng.uniform(-12, 12), 1.0)
    away = np.array(centre) - np.array(np.nonzero(scene.foreground > 0.5)).mean(1)[::-1]
    matrix[:, 2] += away / (np.linalg.norm(away) + 1e-6) * gap
    moved = cv2.warpAffine(before, matrix, (size, size), borderMode=cv2.BORDER_REFLECT)
    alpha = cv2.warpAffine(piece, matrix, (size, size))
    paint_backdrop(scene, piece)
    scene.image += (moved - scene.image) * alpha[..., None]
    # Only the crack and its lips are anomalous: the moved piece itself is normal.
    rim = np.clip(piece - alpha, 0, 1) + np.clip(alpha - scene.foreground, 0, 1)
    return as_float(np.clip(rim, 0, 1))


def _particles(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    unit, total = scene.image.shape[0] / 160, np.zeros(scene.image.shape[:2], np.float32)
    colour = contrasting_colour(scene, random_spot(scene, rng), rng)
    for _ in range(int(rng.choice([1, 1, 2, 3, 6]))):
        spot = draw_blob(scene, rng, random_spot(scene, rng), rng.uniform(1.2, 4.5) * unit, 0.3)
        total = np.maximum(total, spot)
    paint(scene, total * rng.uniform(0.5, 1.0), colour)
    return total


def _fibre(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    unit, at = scene.image.shape[0] / 160, random_spot(scene, rng)
    points = random_walk(at, rng, random_radius(scene, rng, 0.15, 0.7), rng.uniform(0.15, 0.4), 24)
    line = draw_stroke(scene, points, rng.uniform(0.8, 2.0) * unit)
    shadow = np.roll(line, (round(1.5 * unit), round(1.5 * unit)), (0, 1))
    scene.image *= 1 - 0.3 * shadow[..., None]
    paint(scene, line * rng.uniform(0.5, 1), contrasting_colour(scene, at, rng))
    return line


def _foreign_body(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    at, radius = random_spot(scene, rng), random_radius(scene, rng, 0.025, 0.13)
    turn = rng.uniform(0, 2 * np.pi)
    cos, sin = np.cos(turn) * radius, np.sin(turn) * radius
    outline = shapes.any_shape(rng).outer @ np.array([[cos, sin], [-sin, cos]]) + at
    canvas = np.zeros(scene.image.shape[:2], np.uint8)
    cv2.fillPoly(canvas, [np.int32(outline * 16)], 255, cv2.LINE_AA, 4)
    alpha = canvas.astype(np.float32) / 255
    scene.image *= 1 - 0.35 * cv2.GaussianBlur(np.roll(alpha, (2, 2), (0, 1)), (0, 0), 2)[..., None]
    surface = render(draw_material(rng), rng, alpha.shape, scene.image.shape[0] / 160)
    scene.image += (surface - scene.image) * alpha[..., None]
    return alpha


def _discolouration(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    spot = draw_blob(
        scene,
        rng,
        random_spot(scene, rng),
        random_radius(scene, rng, 0.06, 0.3),
        rng.uniform(0.3, 0.8),
    )
    spot *= scene.foreground
    scene.image *= 1 + spot[..., None] * np.float32(rng.uniform(-0.5, 0.5, 3))
    return spot


def _smear(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    at, radius = random_spot(scene, rng), random_radius(scene, rng, 0.05, 0.22)
    spot = draw_blob(scene, rng, at, radius, 0.4) * scene.foreground
    reach = max(3, int(radius))
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    turn = rng.uniform(0, np.pi)
    step = np.array([np.cos(turn), np.sin(turn)]) * reach
    cv2.line(
        kernel,
        (int(reach - step[0]), int(reach - step[1])),
        (int(reach + step[0]), int(reach + step[1])),
        1.0,
    )
    smeared = cv2.filter2D(scene.image, -1, kernel / kernel.sum())
    if rng.random() < 0.5:
        smeared = smeared + np.float32(rng.normal(size=3) * 0.12)
    scene.image += (smeared - scene.image) * spot[..., None]
    return spot


def _fold(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    unit, at = scene.image.shape[0] / 160, random_spot(scene, rng)
    rows, columns = grid_of(scene)
    turn = rng.uniform(0, np.pi)
    across = (columns - at[0]) * np.sin(turn) - (rows - at[1]) * np.cos(turn)
    along = (columns - at[0]) * np.cos(turn) + (rows - at[1]) * np.sin(turn)
    across = across + slow_field(rng, scene.image.shape[0], 1.0) * rng.uniform(0, 3) * unit
    length, width = random_radius(scene, rng, 0.1, 0.5), rng.uniform(1.5, 4) * unit
    ends = np.clip(1.5 - np.abs(along) / length, 0, 1) * scene.foreground
    profile = (across / width) * np.exp(-0.5 * (across / width) ** 2)
    scene.image += (profile * ends * rng.uniform(0.15, 0.6) * rng.choice([-1, 1]))[..., None]
    return as_float((np.abs(across) < 2 * width) * ends)


def _wrong_texture(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """A place that looks like another place, turned, shifted or of another stuff."""
    spot = draw_blob(
        scene,
        rng,
        random_spot(scene, rng),
        random_radius(scene, rng, 0.04, 0.2),
        rng.uniform(0.05, 0.3),
    )
    spot *= scene.foreground
    choice = rng.random()
    if choice < 0.4:
        turned = np.rot90(scene.image, int(rng.integers(1, 4)))
        other = np.roll(turned, tuple(int(v) for v in rng.integers(0, len(turned), 2)), (0, 1))
    elif choice < 0.6:
        other = cv2.GaussianBlur(scene.image, (0, 0), rng.uniform(2, 5))
    else:
        other = render(draw_material(rng), rng, spot.shape, scene.image.shape[0] / 160)
    scene.image += (other - scene.image) * spot[..., None]
    return spot


def _bend(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Structure pushed aside: a bent lead, a displaced weave, a squeezed edge."""
    at, radius = random_spot(scene, rng), random_radius(scene, rng, 0.05, 0.16)
    rows, columns = grid_of(scene)
    window = np.exp(-(((columns - at[0]) ** 2 + (rows - at[1]) ** 2) / radius**2))
    turn, push = rng.uniform(0, 2 * np.pi), radius * rng.uniform(0.35, 0.9)
    before = scene.image
    scene.image = cv2.remap(
        before,
        np.float32(columns + window * push * np.cos(turn)),
        np.float32(rows + window * push * np.sin(turn)),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    change = np.abs(scene.image - before).max(2)
    return as_float((cv2.blur(change, (3, 3)) > 0.06) & (window > 0.05))


def _edge_fault(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """A bite out of an edge, a spur on it, a bridge or a gap: one side's colour over the other."""
    grey = scene.image.mean(2)
    at = random_edge_spot(scene, rng, grey)
    if at is None:
        return _particles(scene, rng)
    unit, size = scene.image.shape[0] / 160, scene.image.shape[0]
    turn = rng.uniform(0, 2 * np.pi)
    reach = rng.uniform(3, 6) * unit
    source = (
        int(np.clip(at[0] + reach * np.cos(turn), 0, size - 1)),
        int(np.clip(at[1] + reach * np.sin(turn), 0, size - 1)),
    )
    colour = scene.image[source[1], source[0]].copy()
    if rng.random() < 0.6:
        spot = draw_blob(scene, rng, at, rng.uniform(1.5, 6) * unit, 0.2)
    else:
        spot = draw_stroke(
            scene,
            random_walk(at, rng, rng.uniform(6, 22) * unit, 0.15, 6),
            rng.uniform(1.5, 4) * unit,
        )
    paint(scene, spot, colour)
    return spot


DEFECTS: dict[str, Maker] = {
    "scratch": _scratch,
    "crack": _crack,
    "cut": _cut,
    "stain": _stain,
    "hole": _hole,
    "dent": _dent,
    "chip": _chip,
    "broken off": _broken_off,
    "fracture": _fracture,
    "particles": _particles,
    "fibre": _fibre,
    "foreign body": _foreign_body,
    "discolouration": _discolouration,
    "smear": _smear,
    "fold": _fold,
    "wrong texture": _wrong_texture,
    "bend": _bend,
    "edge fault": _edge_fault,
}

# Their makers touch more than they change, so the visible share says nothing about failure.
_BY_CHANGE = frozenset({"dent", "bend", "fold", "smear", "fracture", "edge fault", "broken off"})
