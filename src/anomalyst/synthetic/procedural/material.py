"""Materials: how a surface looks, drawn afresh for every instance of a product."""

from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

from anomalyst.synthetic.procedural.noise import KINDS, field
from anomalyst.synthetic.sampling import Rng, log_uniform, one_of, zero_or

Colour = tuple[float, float, float]  # RGB in [0, 1]

NOISE_LOOKS = (
    "plain", "grain", "cloud", "smooth", "band", "wide_band", "oriented", "brushed", "cells",
    "crackle", "pebbles", "spots", "fibres", "ridges", "speckle", "wood", "terrazzo",
)  # fmt: skip
PATTERN_LOOKS = ("stripes", "weave", "mesh", "dots", "twill", "thread", "checker", "hexes")
LOOKS = NOISE_LOOKS + PATTERN_LOOKS


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """A surface: a scalar look in [0, 1] between two colours, with relief and fine grain."""

    look: str = "plain"
    colour: Colour = (0.5, 0.5, 0.5)
    second: Colour = (0.6, 0.6, 0.6)
    scale: float = 1.0  # magnification of noise looks at 160 px
    stretch: float = 1.0  # anisotropy along `angle`
    angle: float = 0.0  # radians
    period: float = 12.0  # px at 160 px, of pattern looks
    contrast: float = 0.5  # share of the way from `colour` to `second`
    sharpness: float = 3.0
    wobble: float = 0.0  # px at 160 px by which patterns bend
    mottle: float = 0.0  # slow change of brightness over the surface
    grain: float = 0.01  # fine noise
    relief: float = 0.0  # brightness change per unit of slope of the look
    fixed: bool = False  # the same pattern on every instance (printed or moulded)


def draw_material(rng: Rng, *, looks: tuple[str, ...] = LOOKS) -> Material:
    """A random material; half of them nearly grey, as most industrial surfaces are."""
    colour = rng.uniform(0.04, 0.96, 3)
    if rng.random() < 0.5:
        colour = np.clip(rng.uniform(0.04, 0.96) + rng.normal(size=3) * 0.04, 0, 1)
    step = rng.normal(size=3) * 0.12 + rng.normal() * rng.choice([0.08, 0.2, 0.4])
    return Material(
        look=one_of(rng, looks),
        colour=as_colour(colour),
        second=as_colour(colour + step),
        scale=log_uniform(rng, 0.35, 2.2),
        stretch=float(rng.choice([1, 1, 1, 2, 4])),
        angle=float(rng.choice([0.0, np.pi / 2, rng.uniform(0, np.pi)])),
        period=log_uniform(rng, 4.5, 28),
        contrast=rng.uniform(0.15, 1.0),
        sharpness=log_uniform(rng, 1, 8),
        wobble=zero_or(rng, 0, 2.5, zeros=2),
        mottle=zero_or(rng, 0, 0.12),
        grain=rng.uniform(0.0, 0.03),
        relief=zero_or(rng, 0.05, 0.35, zeros=2),
    )


def plain(colour: Colour, grain: float = 0.01) -> Material:
    """A single colour with a little grain."""
    return Material(look="plain", colour=colour, second=colour, grain=grain)


def recoloured(material: Material, colour: Colour) -> Material:
    """The same surface in another colour."""
    second = material.second + np.subtract(colour, material.colour)
    return replace(material, colour=as_colour(np.array(colour)), second=as_colour(second))


def as_colour(values: np.ndarray) -> Colour:
    """RGB (3,) as a tuple in [0, 1]."""
    red, green, blue = np.clip(values, 0, 1)
    return float(red), float(green), float(blue)


def render(material: Material, rng: Rng, size_hw: tuple[int, int], unit: float) -> np.ndarray:
    """Float32 (H, W, 3) RGB around [0, 1]; `unit` is picture side / 160, so looks scale with it."""
    look = np.asarray(_look(material, rng, size_hw, unit), np.float32)
    share = np.clip(0.5 + (look - 0.5) * material.contrast, 0, 1)[..., None]
    first = np.array(material.colour, np.float32)
    second = np.array(material.second, np.float32)
    surface = first + (second - first) * share
    lights: list[np.ndarray] = []
    if material.relief > 0:
        slope = np.zeros_like(look)
        slope[:, 1:] = (look[:, 1:] - look[:, :-1]) * material.relief * 2
        lights.append(slope)
    if material.grain > 0:
        lights.append(field(rng, size_hw, "white") * material.grain)
    if material.mottle > 0:
        lights.append(field(rng, size_hw, "smooth", scale=unit) * material.mottle * 0.5)
    return surface + reduce(np.add, lights)[..., None] if lights else surface


def _look(m: Material, rng: Rng, size_hw: tuple[int, int], unit: float) -> np.ndarray:
    """The scalar look, float32 (H, W), mostly in [0, 1]."""
    if m.look in PATTERN_LOOKS:
        return _pattern(m, rng, size_hw, unit)
    if m.look == "plain":
        return np.full(size_hw, 0.5, np.float32)
    scale = m.scale * unit

    def noise(kind: str, scale: float = scale, stretch: float = m.stretch) -> np.ndarray:
        return field(rng, size_hw, kind, scale=scale, stretch=stretch, angle=m.angle)

    if m.look in KINDS and m.look != "spots":
        return 0.5 + (0.2 if m.look == "cells" else 0.22) * noise(m.look)
    if m.look == "crackle":
        return np.clip((noise("cell_edges") + 1.2) * m.sharpness * 0.5, 0, 1)
    if m.look == "brushed":
        return 0.5 + 0.22 * noise("grain", stretch=m.stretch * 10 + 8)
    if m.look == "ridges":
        return 1 - np.minimum(np.abs(noise("cloud")), 1)
    if m.look == "spots":
        return np.clip(0.3 + 0.3 * noise("spots"), 0, 1)
    if m.look == "speckle":
        return _step((noise("grain", scale=unit * 0.7, stretch=1.0) - 1.4) * m.sharpness)
    if m.look == "wood":
        rings = noise("smooth", stretch=6.0) * 2.2 + 0.15 * noise("grain", stretch=14.0)
        return 0.5 + 0.4 * np.sin(rings * m.sharpness)
    return np.where(noise("cell_edges") < -0.9, 0.1, 0.55 + 0.25 * noise("cells"))  # terrazzo


def _pattern(m: Material, rng: Rng, size_hw: tuple[int, int], unit: float) -> np.ndarray:
    rows = np.arange(size_hw[0], dtype=np.float32)[:, None]
    columns = np.arange(size_hw[1], dtype=np.float32)[None, :]
    phase = rng.random(2) * 50 * (0.0 if m.fixed else 1.0)
    step = 2 * np.pi / (m.period * unit)
    cos, sin = np.float32(np.cos(m.angle)) * step, np.float32(np.sin(m.angle)) * step
    u = columns * cos + rows * sin + phase[0]
    v = rows * cos - columns * sin + phase[1]
    if m.wobble > 0:
        bend = field(rng, size_hw, "smooth", scale=unit) * (m.wobble * unit * step)
        u, v = u + bend, v + bend
    return _PATTERNS[m.look](np.float32(u), np.float32(v), m.sharpness)


def _step(t: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-np.clip(t, -30, 30))), np.float32)


def _weave(u: np.ndarray, v: np.ndarray, _: float) -> np.ndarray:
    over = np.sin(u) * np.sin(v) > 0
    return np.where(over, 0.5 + 0.4 * np.abs(np.cos(u)), 0.5 - 0.4 * np.abs(np.cos(v)))


def _mesh(u: np.ndarray, v: np.ndarray, sharp: float) -> np.ndarray:
    return np.maximum(_step(4 * sharp * (np.cos(u) - 0.7)), _step(4 * sharp * (np.cos(v) - 0.7)))


_PATTERNS = {
    "stripes": lambda u, v, s: _step(s * np.sin(u)),  # noqa: ARG005
    "weave": _weave,
    "mesh": _mesh,
    "dots": lambda u, v, s: _step(3 * s * (np.cos(u) + np.cos(v) - 0.9)),
    "twill": lambda u, v, s: _step(s * np.sin(u + v + 1.2 * np.sign(np.sin(v)))),
    "thread": lambda u, v, s: 0.5 + 0.5 * np.abs(np.sin(0.5 * u)) - 0.1 * s * (np.cos(u) > 0.9),  # noqa: ARG005
    "checker": lambda u, v, s: _step(s * 2 * np.sin(u) * np.sin(v)),
    "hexes": lambda u, v, s: _step(
        s * (np.cos(u) + np.cos(0.5 * u + 0.866 * v) + np.cos(0.5 * u - 0.866 * v))
    ),
}
