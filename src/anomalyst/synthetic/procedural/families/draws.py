"""Draws that every family shares: pose, camera, colours, arrangements."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from anomalyst.synthetic.procedural.material import (
    Colour,
    Material,
    as_colour,
    draw_material,
    plain,
)
from anomalyst.synthetic.procedural.product import Camera, Pose
from anomalyst.synthetic.sampling import Rng, log_uniform, one_of, zero_or


def draw_pose(rng: Rng, kinds: Sequence[str] = ("fixed", "loose", "free")) -> Pose:
    """A pose of one of the kinds: held in a fixture, laid down by hand, or any way round."""
    kind = one_of(rng, kinds)
    if kind == "fixed":
        return Pose(turn_deg=rng.uniform(0, 2), shift=rng.uniform(0, 0.015))
    if kind == "loose":
        turn, shift = rng.uniform(3, 14), rng.uniform(0.02, 0.06)
        return Pose(turn_deg=turn, shift=shift, zoom=rng.uniform(0, 0.05))
    return Pose(turn_deg=180.0, shift=rng.uniform(0.02, 0.07), zoom=0.04)


def draw_camera(rng: Rng, **overrides: Any) -> Camera:
    """A camera and its light; `overrides` are fields of `Camera`, passed on whole."""
    drawn: dict[str, Any] = {
        "gradient": rng.uniform(0, 0.35),
        "exposure": rng.uniform(0, 0.12),
        "tint": rng.uniform(0, 0.05),
        "noise": float(rng.choice([0.004, rng.uniform(0, 0.03)])),
        "defocus_px": zero_or(rng, 0.2, 1.2),
        "vignette": zero_or(rng, 0, 0.35),
        "jpeg_quality": int(rng.choice([0, 0, 55, 75, 90])),
        "grey": rng.random() < 0.2,
        "dust": rng.uniform(0.3, 1) if rng.random() < 0.25 else 0.0,
        "shade": rng.uniform(0.02, 0.15) if rng.random() < 0.5 else 0.0,
        "bend": log_uniform(rng, 0.002, 0.02) if rng.random() < 0.5 else 0.0,
    }
    return Camera(**(drawn | overrides))


def grey(rng: Rng, low: float = 0.05, high: float = 0.95) -> Colour:
    """A nearly neutral colour."""
    return as_colour(rng.uniform(low, high) + rng.normal(size=3) * 0.02)


def vivid(rng: Rng) -> Colour:
    """A strong colour."""
    colour = rng.uniform(0.03, 0.3, 3)
    colour[rng.permutation(3)[: int(rng.integers(1, 3))]] = rng.uniform(0.55, 0.95)
    return as_colour(colour)


def vivid_or_grey(rng: Rng, vivid_share: float = 0.6) -> Colour:
    """A strong colour in so many cases, else a nearly neutral one."""
    return vivid(rng) if rng.random() < vivid_share else grey(rng)


def near(rng: Rng, colour: Sequence[float], spread: float = 0.06) -> Colour:
    """A colour close to another."""
    return as_colour(np.array(colour) + rng.normal() * spread + rng.normal(size=3) * spread * 0.5)


def shade_of(rng: Rng, colour: Colour, low: float, high: float, spread: float = 0.0) -> Colour:
    """A colour darker or brighter by a factor, each channel changed by about `spread`."""
    shade = np.array(colour) * rng.uniform(low, high)
    return as_colour(shade + rng.normal(size=3) * spread if spread else shade)


def background(rng: Rng) -> Material:
    """What a part lies on: a dark or light table, a coloured mat, a conveyor, anything."""
    kind = rng.random()
    if kind < 0.2:
        return plain(grey(rng, 0.9, 1.0), 0.004)
    if kind < 0.4:
        return plain(grey(rng, 0.02, 0.15), 0.01)
    if kind < 0.55:
        return textured(rng, vivid(rng), ("plain", "grain", "weave", "fibres"), 0.1)
    if kind < 0.85:
        return textured(rng, grey(rng), ("plain", "grain", "cloud", "brushed", "fibres"), 0.1)
    return draw_material(rng)


def textured(
    rng: Rng, colour: Colour, looks: Sequence[str], spread: float = 0.15, **overrides: Any
) -> Material:
    """A material of that colour with one of the looks; `overrides` are fields of `Material`."""
    drawn: dict[str, Any] = {
        "look": one_of(rng, looks),
        "colour": colour,
        "second": near(rng, colour, spread),
        "scale": float(np.exp(rng.uniform(-1.0, 0.7))),
        "stretch": float(rng.choice([1, 1, 2, 4])),
        "angle": float(rng.choice([0.0, np.pi / 2, rng.uniform(0, np.pi)])),
        "period": log_uniform(rng, 4.5, 22),
        "contrast": rng.uniform(0.3, 1.0),
        "sharpness": float(np.exp(rng.uniform(0, 2))),
        "wobble": zero_or(rng, 0, 2),
        "mottle": zero_or(rng, 0, 0.1),
        "grain": rng.uniform(0.0, 0.03),
        "relief": zero_or(rng, 0.05, 0.3),
    }
    return Material(**(drawn | overrides))


def lattice(
    rng: Rng, rows: int, columns: int, width: float, height: float
) -> list[tuple[float, float]]:
    """Centres of a rows x columns grid inside +-width, +-height; sometimes staggered."""
    stagger = 0.5 if rows > 1 and rng.random() < 0.2 else 0.0
    found = []
    for row in range(rows):
        y = 0.0 if rows == 1 else height * (2 * row / (rows - 1) - 1)
        for column in range(columns):
            offset = stagger * (row % 2)
            x = 0.0 if columns == 1 else width * (2 * (column + offset) / (columns - 0.5) - 1)
            found.append((float(np.clip(x, -1, 1)), y))
    return found


def around(count: int, radius: float) -> list[tuple[float, float, float]]:
    """(x, y, angle) of `count` places on a circle."""
    turns = 2 * np.pi * np.arange(count) / count
    return [(float(radius * np.cos(t)), float(radius * np.sin(t)), float(t)) for t in turns]


def letters(rng: Rng, low: int = 2, high: int = 7) -> str:
    """A serial number or brand."""
    return "".join(rng.choice(list("ABCDEHKLMNPRSTXZ0123456789"), int(rng.integers(low, high + 1))))
