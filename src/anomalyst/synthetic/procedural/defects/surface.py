"""Defects of the surface: cut, worn, dirty, pressed in, or of the wrong look."""

import cv2
import numpy as np

from anomalyst.synthetic.procedural import shapes
from anomalyst.synthetic.procedural.material import draw_material, render
from anomalyst.synthetic.procedural.noise import slow_field
from anomalyst.synthetic.procedural.scene import Scene, as_float, random_walk
from anomalyst.synthetic.sampling import Rng


def scratch(scene: Scene, rng: Rng) -> np.ndarray:
    unit, at = scene.unit, scene.random_spot(rng)
    length = scene.random_radius(rng, 0.08, 0.6)
    total = np.zeros(scene.image.shape[:2], np.float32)
    colour = scene.contrasting_colour(at, rng)
    for _ in range(int(rng.choice([1, 1, 1, 2, 4]))):
        points = random_walk(at, rng, length, rng.uniform(0.0, 0.12), 10)
        width, tapered = rng.uniform(0.8, 2.4) * unit, rng.random() < 0.5
        line = scene.draw_stroke(points, width, tapered=tapered)
        total = np.maximum(total, line * scene.foreground)
        at = (int(at[0] + rng.normal() * 6 * unit), int(at[1] + rng.normal() * 6 * unit))
    scene.paint(total * rng.uniform(0.4, 1.0), colour)
    return total


def crack(scene: Scene, rng: Rng) -> np.ndarray:
    at, length = scene.random_spot(rng), scene.random_radius(rng, 0.1, 0.7)
    trunk = random_walk(at, rng, length, 0.45, 22)
    width = rng.uniform(0.8, 4.0) * scene.unit
    total = scene.draw_stroke(trunk, width, tapered=True)
    for _ in range(int(rng.integers(0, 4))):
        fork = trunk[int(rng.integers(len(trunk)))]
        branch = random_walk((int(fork[0]), int(fork[1])), rng, length * 0.4, 0.5, 10)
        total = np.maximum(total, scene.draw_stroke(branch, width * 0.6, tapered=True))
    total *= scene.foreground
    depth = rng.uniform(0.35, 0.9)
    scene.paint(total * depth, scene.image[at[1], at[0]] * rng.uniform(0, 0.5))
    return total


def cut(scene: Scene, rng: Rng) -> np.ndarray:
    at = scene.random_spot(rng)
    points = random_walk(at, rng, scene.random_radius(rng, 0.06, 0.4), 0.03, 8)
    widths = (3.4 * scene.unit, rng.uniform(1.0, 2.4) * scene.unit)
    lips, gap = (scene.draw_stroke(points, w, tapered=True) * scene.foreground for w in widths)
    scene.paint(lips * rng.uniform(0.2, 0.6), np.clip(scene.image[at[1], at[0]] + 0.25, 0, 1))
    scene.paint(gap * rng.uniform(0.6, 1), np.full(3, rng.uniform(0, 0.2)))
    return lips


def stain(scene: Scene, rng: Rng) -> np.ndarray:
    spot = scene.random_patch(rng, (0.02, 0.2), (0.1, 0.6))
    strength = rng.uniform(0.25, 0.85)
    if rng.random() < 0.6:
        scene.image *= 1 - (spot * strength)[..., None] * np.float32(rng.uniform(0.2, 1, 3))
    else:
        scene.paint(spot * strength, rng.random(3))
    return spot


def dent(scene: Scene, rng: Rng) -> np.ndarray:
    at, radius = scene.random_spot(rng), scene.random_radius(rng, 0.03, 0.14)
    x, y = scene.offsets(at)
    x, y = x / radius, y / (radius * rng.uniform(0.5, 1.0))
    bowl = np.exp(-(x * x + y * y))
    pull = bowl * radius * rng.uniform(0.2, 0.8) * rng.choice([-1, 1])
    scene.push_pixels(pull * x, pull * y)
    slope = (x * scene.light_xy[0] + y * scene.light_xy[1]) * bowl
    scene.image += (slope * scene.foreground * rng.uniform(0.25, 0.8))[..., None]
    return as_float((bowl > 0.25) * scene.foreground)


def particles(scene: Scene, rng: Rng) -> np.ndarray:
    total = np.zeros(scene.image.shape[:2], np.float32)
    colour = scene.contrasting_colour(scene.random_spot(rng), rng)
    for _ in range(int(rng.choice([1, 1, 2, 3, 6]))):
        at, radius = scene.random_spot(rng), rng.uniform(1.2, 4.5) * scene.unit
        total = np.maximum(total, scene.draw_blob(rng, at, radius, 0.3))
    scene.paint(total * rng.uniform(0.5, 1.0), colour)
    return total


def fibre(scene: Scene, rng: Rng) -> np.ndarray:
    unit, at = scene.unit, scene.random_spot(rng)
    points = random_walk(at, rng, scene.random_radius(rng, 0.15, 0.7), rng.uniform(0.15, 0.4), 24)
    line = scene.draw_stroke(points, rng.uniform(0.8, 2.0) * unit)
    shadow = np.roll(line, (round(1.5 * unit), round(1.5 * unit)), (0, 1))
    scene.image *= 1 - 0.3 * shadow[..., None]
    scene.paint(line * rng.uniform(0.5, 1), scene.contrasting_colour(at, rng))
    return line


def foreign_body(scene: Scene, rng: Rng) -> np.ndarray:
    at, radius = scene.random_spot(rng), scene.random_radius(rng, 0.025, 0.13)
    turn = rng.uniform(0, 2 * np.pi)
    cos, sin = np.cos(turn) * radius, np.sin(turn) * radius
    outline = shapes.any_shape(rng).outer @ np.array([[cos, sin], [-sin, cos]]) + at
    canvas = np.zeros(scene.image.shape[:2], np.uint8)
    cv2.fillPoly(canvas, [np.int32(outline * 16)], 255, cv2.LINE_AA, 4)
    alpha = canvas.astype(np.float32) / 255
    scene.image *= 1 - 0.35 * cv2.GaussianBlur(np.roll(alpha, (2, 2), (0, 1)), (0, 0), 2)[..., None]
    scene.paint(alpha, render(draw_material(rng), rng, alpha.shape, scene.unit))
    return alpha


def discolouration(scene: Scene, rng: Rng) -> np.ndarray:
    spot = scene.random_patch(rng, (0.06, 0.3), (0.3, 0.8))
    scene.image *= 1 + spot[..., None] * np.float32(rng.uniform(-0.5, 0.5, 3))
    return spot


def smear(scene: Scene, rng: Rng) -> np.ndarray:
    at, radius = scene.random_spot(rng), scene.random_radius(rng, 0.05, 0.22)
    spot = scene.draw_blob(rng, at, radius, 0.4) * scene.foreground
    reach = max(3, int(radius))
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    turn = rng.uniform(0, np.pi)
    step = np.array([np.cos(turn), np.sin(turn)]) * reach
    start, end = ([int(value) for value in reach + sign * step] for sign in (-1, 1))
    cv2.line(kernel, start, end, 1.0)
    smeared = cv2.filter2D(scene.image, -1, kernel / kernel.sum())
    if rng.random() < 0.5:
        smeared = smeared + np.float32(rng.normal(size=3) * 0.12)
    scene.paint(spot, smeared)
    return spot


def fold(scene: Scene, rng: Rng) -> np.ndarray:
    unit, (x, y) = scene.unit, scene.offsets(scene.random_spot(rng))
    turn = rng.uniform(0, np.pi)
    across = x * np.sin(turn) - y * np.cos(turn)
    along = x * np.cos(turn) + y * np.sin(turn)
    across = across + slow_field(rng, scene.size_px, 1.0) * rng.uniform(0, 3) * unit
    length, width = scene.random_radius(rng, 0.1, 0.5), rng.uniform(1.5, 4) * unit
    ends = np.clip(1.5 - np.abs(along) / length, 0, 1) * scene.foreground
    profile = (across / width) * np.exp(-0.5 * (across / width) ** 2)
    scene.image += (profile * ends * rng.uniform(0.15, 0.6) * rng.choice([-1, 1]))[..., None]
    return as_float((np.abs(across) < 2 * width) * ends)


def wrong_texture(scene: Scene, rng: Rng) -> np.ndarray:
    """A place that looks like another place, turned, shifted or of another stuff."""
    spot = scene.random_patch(rng, (0.04, 0.2), (0.05, 0.3))
    choice = rng.random()
    if choice < 0.4:
        turned = np.rot90(scene.image, int(rng.integers(1, 4)))
        other = np.roll(turned, tuple(int(v) for v in rng.integers(0, len(turned), 2)), (0, 1))
    elif choice < 0.6:
        other = cv2.GaussianBlur(scene.image, (0, 0), rng.uniform(2, 5))
    else:
        other = render(draw_material(rng), rng, spot.shape, scene.unit)
    scene.paint(spot, other)
    return spot


def bend(scene: Scene, rng: Rng) -> np.ndarray:
    """Structure pushed aside: a bent lead, a displaced weave, a squeezed edge."""
    at, radius = scene.random_spot(rng), scene.random_radius(rng, 0.05, 0.16)
    x, y = scene.offsets(at)
    window = np.exp(-((x**2 + y**2) / radius**2))
    turn, push = rng.uniform(0, 2 * np.pi), radius * rng.uniform(0.35, 0.9)
    before = scene.image
    scene.push_pixels(window * push * np.cos(turn), window * push * np.sin(turn))
    change = np.abs(scene.image - before).max(2)
    return as_float((cv2.blur(change, (3, 3)) > 0.06) & (window > 0.05))
