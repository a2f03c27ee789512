"""Food, loose goods, cables, zippers and brushes."""

from dataclasses import replace

import numpy as np

from anomalyst.synthetic.procedural import shapes
from anomalyst.synthetic.procedural.families.draws import (
    around,
    background,
    draw_pose,
    grey,
    near,
    shade_of,
    textured,
    vivid,
)
from anomalyst.synthetic.procedural.families.pieces import box, on_table, piece, product
from anomalyst.synthetic.procedural.material import Colour, Material, as_colour, plain
from anomalyst.synthetic.procedural.product import ProductSpec, Scatter
from anomalyst.synthetic.sampling import Rng, one_of


def biscuit(rng: Rng) -> ProductSpec:
    dough = shade_of(rng, (0.78, 0.57, 0.34), 0.5, 1.2, 0.04)
    lump = shapes.lump(rng, 0.2)
    chocolate = plain(shade_of(rng, (0.3, 0.17, 0.1), 0.4, 2.2), 0.02)
    chip = piece("chip", lump, chocolate, rng.uniform(0.06, 0.14), bevel=0.3)
    looks = ("ridges", "cloud", "crackle", "grain", "pebbles")
    look = textured(rng, dough, looks, 0.15, relief=rng.uniform(0.1, 0.4), mottle=0.1)
    if rng.random() < 0.7:
        body = shapes.lump(rng, 0.06)
    else:
        body = shapes.rectangle(1, rng.uniform(0.6, 1), 0.4)
    return on_table(
        rng,
        "biscuit",
        "biscuit",
        body,
        look,
        scatters=(Scatter(part=chip, count=(0, 9)),),
        wobble=rng.uniform(0.02, 0.14),
        pose=draw_pose(rng, ("free", "loose")),
        body_bevel=0.4,
    )


def loose_goods(rng: Rng) -> ProductSpec:
    """Seeds, grains, nuts or macaroni thrown on a surface."""
    name = one_of(rng, ["grain", "seed", "bean", "macaroni", "nut"])
    shape = shapes.lump(rng, 0.12) if rng.random() < 0.6 else shapes.any_shape(rng)
    look = textured(rng, as_colour(rng.uniform(0.2, 0.9, 3)), ("plain", "cloud"), 0.08)
    grain = piece(name, shape, look, rng.uniform(0.06, 0.2), bevel=0.4, shadow=0.3)
    low, table = int(rng.integers(3, 14)), background(rng)
    thrown = Scatter(part=grain, count=(low, low + int(rng.integers(1, 8))))
    return product(rng, "loose goods", "layer of loose goods", table, scatters=(thrown,))


def cable(rng: Rng) -> ProductSpec:
    """Insulated wires: cut across, or running side by side."""
    colours = [vivid(rng) for _ in range(int(rng.integers(2, 7)))]
    copper = textured(rng, (0.8, 0.5, 0.3), ("speckle", "pebbles"), 0.2, scale=0.4)
    return _cut_across(rng, colours, copper) if rng.random() < 0.5 else _side_by_side(rng, colours)


def _cut_across(rng: Rng, colours: list[Colour], copper: Material) -> ProductSpec:
    touching = float(np.sin(np.pi / len(colours)))  # half a wire, where wires around touch
    half = 0.8 * (touching / (1 + touching)) + 0.06
    parts = []
    for (x, y, _), colour in zip(around(len(colours), 0.85 - half), colours, strict=True):
        wire = piece("wire", shapes.disc(), colour, half, (x, y), bevel=0.3, slack=0.03)
        parts += [wire, replace(wire, name="core", material=copper, half_size=half * 0.55)]
    sheath, pose = grey(rng), draw_pose(rng, ("loose", "free"))
    return on_table(rng, "cable", "cable cross-section", shapes.disc(), sheath, parts, pose=pose)


def _side_by_side(rng: Rng, colours: list[Colour]) -> ProductSpec:
    count, parts = len(colours), []
    for i, colour in enumerate(colours):
        t = np.linspace(-1.2, 1.2, 20)
        bend = rng.uniform(-0.08, 0.08) * np.sin(t * rng.uniform(1, 3))
        run = np.stack([t, bend + (i + 0.5) * 1.6 / count - 0.8], 1)
        shape = shapes.path(run, 0.55 / count)
        parts.append(piece("wire", shape, colour, 1.0, bevel=0.4, shadow=0.3, slack=0.015))
    return product(rng, "cable", "cable run", background(rng), parts, poses=("fixed", "loose"))


def zipper(rng: Rng) -> ProductSpec:
    colour = grey(rng) if rng.random() < 0.6 else vivid(rng)
    tape = textured(rng, colour, ("weave", "twill"), 0.1, period=4.5)
    count, metal, parts = int(rng.integers(8, 18)), grey(rng, 0.2, 0.85), []
    for i in range(count):
        centre = (0.07 if i % 2 else -0.07, 1.9 * (i + 0.5) / count - 0.95)
        parts.append(box("tooth", metal, centre, 0.16, 0.45 * 6 / count, bevel=0.3))
    return product(rng, "zipper", "zipper", tape, parts, poses=("fixed", "loose"))


def brush(rng: Rng) -> ProductSpec:
    colour, parts = vivid(rng), []
    for x in np.linspace(-0.85, 0.85, int(rng.integers(10, 30))):
        t = np.linspace(-0.9, 0.5, 8)
        lean = rng.normal() * 0.04
        bristle = shapes.path(np.stack([x + lean * (0.5 - t), t], 1), 0.025)
        hair = piece("bristle", bristle, near(rng, colour, 0.12), 1.0, inside=False)
        parts.append(replace(hair, slack=0.01, turn_slack=0.02))
    parts.append(box("handle", grey(rng), (0.0, 0.75), 1.0, 0.3, inside=False))
    table, poses = background(rng), ("fixed", "loose")
    return product(rng, "brush", "brush", table, parts, poses=poses, body_half=0.42)
