"""Outlines of bodies and parts: closed polygons in units where the shape fills [-1, 1]."""

import math
from dataclasses import dataclass

import numpy as np

from anomalyst.synthetic.sampling import Rng


@dataclass(frozen=True, slots=True)
class Shape:
    """One outer outline and any holes; each (N, 2) float32, x right, y down."""

    outer: np.ndarray
    holes: tuple[np.ndarray, ...] = ()
    name: str = "shape"


def _polar(radius: np.ndarray, angle: np.ndarray) -> np.ndarray:
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).astype(np.float32)


def _turn(points: int) -> np.ndarray:
    return np.linspace(0, 2 * math.pi, points, endpoint=False)


def disc(points: int = 48) -> Shape:
    return Shape(_polar(np.ones(points), _turn(points)), name="disc")


def ring(inner: float) -> Shape:
    return Shape(disc().outer, (disc().outer * inner,), "ring")


def rectangle(width: float = 1.0, height: float = 1.0, corner: float = 0.0) -> Shape:
    """Half sides `width` and `height`; `corner` is the corner radius as a share of the smaller."""
    radius = min(width, height) * min(max(corner, 0.0), 1.0)
    if radius < 1e-3:
        points = [(-width, -height), (width, -height), (width, height), (-width, height)]
        return Shape(np.array(points, np.float32), name="rectangle")
    arc = np.linspace(0, math.pi / 2, 7)
    corners = []
    for start, sx, sy in ((0, 1, 1), (1, -1, 1), (2, -1, -1), (3, 1, -1)):
        angle = arc + start * math.pi / 2
        centre = np.array([sx * (width - radius), sy * (height - radius)])
        corners.append(centre + radius * np.stack([np.cos(angle), np.sin(angle)], 1))
    return Shape(np.concatenate(corners).astype(np.float32), name="rectangle")


def polygon(sides: int) -> Shape:
    return Shape(_polar(np.ones(sides), _turn(sides)), name="polygon")


def star(points: int, inner: float) -> Shape:
    radius = np.where(np.arange(2 * points) % 2 == 0, 1.0, inner)
    return Shape(_polar(radius, _turn(2 * points)), name="star")


def gear(teeth: int, depth: float, bore: float = 0.0) -> Shape:
    """`depth` is the tooth height, `bore` the hole's radius, both as shares of the radius."""
    steps = np.arange(8 * teeth)
    radius = np.where((steps % 8) < 4, 1.0, 1.0 - depth)
    holes = (disc().outer * bore,) if bore > 0 else ()
    return Shape(_polar(radius, _turn(8 * teeth)), holes, "gear")


def supershape(rng: Rng) -> Shape:
    """Gielis' superformula with random exponents (Gielis 2003)."""
    angle = _turn(96)
    lobes, n1 = int(rng.integers(0, 9)), rng.uniform(0.5, 3.0)
    n2, n3, b = rng.uniform(0.5, 3.0), rng.uniform(0.5, 3.0), rng.uniform(0.6, 1.0)
    base = np.abs(np.cos(lobes * angle / 4)) ** n2 + np.abs(np.sin(lobes * angle / 4) / b) ** n3
    radius = np.maximum(base, 1e-3) ** (-1 / n1)
    return Shape(_polar(radius / radius.max(), angle), name="form")


def lump(rng: Rng, roughness: float) -> Shape:
    """An irregular closed outline, as of a biscuit or a moulded toy."""
    angle = _turn(96)
    radius = np.ones(96)
    for wave in range(1, 7):
        phase = rng.uniform(0, 2 * math.pi)
        radius += roughness * rng.normal() / wave**0.8 * np.cos(wave * angle + phase)
    radius = np.maximum(radius, 0.25)
    return Shape(_polar(radius / radius.max(), angle), name="lump")


def limbed(rng: Rng) -> Shape:
    """A trunk with limbs, as of a figure, a clip or a casting: one outline with deep bays."""
    angle = _turn(192)
    limbs = int(rng.integers(3, 7))
    radius = np.full(192, rng.uniform(0.28, 0.5))
    for centre in (np.arange(limbs) + rng.uniform(-0.25, 0.25, limbs)) * 2 * math.pi / limbs:
        gap = np.angle(np.exp(1j * (angle - centre)))
        width, length = rng.uniform(0.12, 0.3), rng.uniform(0.3, 0.7)
        radius += length * np.exp(-((gap / width) ** 4))
    radius /= radius.max()
    return Shape(_polar(radius, angle) * (1.0, rng.uniform(0.6, 1.0)), name="figure")


def path(points: np.ndarray, width: float) -> Shape:
    """A thick open path (a trace, a pin, a cable): points (N, 2), `width` its half width."""
    points = np.asarray(points, np.float32)
    direction = np.gradient(points, axis=0)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True) + 1e-6
    normal = np.stack([-direction[:, 1], direction[:, 0]], 1) * width
    outline = np.concatenate([points + normal, (points - normal)[::-1]])
    return Shape(outline.astype(np.float32), name="path")


def bottle(neck: float, shoulder: float) -> Shape:
    """A bottle's profile: half neck width and the height where the shoulder begins, in [-1, 1]."""
    y = np.linspace(-1, 1, 40)
    blend = 1 / (1 + np.exp(-(y - shoulder) * 14))
    width = 0.48 * blend + neck * (1 - blend)
    outline = np.concatenate([np.stack([width, y], 1), np.stack([-width, y], 1)[::-1]])
    return Shape(outline.astype(np.float32), name="bottle")


def any_shape(rng: Rng) -> Shape:
    """Any of the shapes above, of any proportions."""
    kind = int(rng.integers(11))
    if kind == 0:
        return disc()
    if kind == 1:
        return ring(rng.uniform(0.25, 0.75))
    if kind in (2, 3):
        return rectangle(1.0, rng.uniform(0.3, 1.0), rng.choice([0.0, 0.2, 0.5, 1.0]))
    if kind == 4:
        return polygon(int(rng.integers(3, 9)))
    if kind == 5:
        return star(int(rng.integers(4, 9)), rng.uniform(0.4, 0.8))
    if kind == 6:
        bore = rng.choice([0.0, rng.uniform(0.15, 0.45)])
        return gear(int(rng.integers(6, 20)), rng.uniform(0.08, 0.25), bore)
    if kind == 7:
        return lump(rng, rng.uniform(0.05, 0.25))
    if kind == 8:
        return limbed(rng)
    if kind == 9:
        return bottle(rng.uniform(0.12, 0.3), rng.uniform(-0.6, 0.1))
    return supershape(rng)
