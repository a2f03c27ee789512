"""Surfaces that fill the picture: cloth, leather, paper, wood, stone, metal sheet, layers."""

from dataclasses import replace

import numpy as np

from anomalyst.synthetic.procedural import shapes
from anomalyst.synthetic.procedural.families.draws import (
    grey,
    lattice,
    near,
    shade_of,
    textured,
    vivid,
)
from anomalyst.synthetic.procedural.families.pieces import piece, product, repeated
from anomalyst.synthetic.procedural.material import as_colour, draw_material, plain
from anomalyst.synthetic.procedural.product import ProductSpec
from anomalyst.synthetic.sampling import Rng


def surface(rng: Rng) -> ProductSpec:
    return product(rng, "surface", "surface", draw_material(rng))


def textile(rng: Rng) -> ProductSpec:
    colour = grey(rng) if rng.random() < 0.5 else vivid(rng)
    looks = ("weave", "twill", "mesh", "stripes", "dots", "hexes")
    period = rng.uniform(4, 16)
    material = textured(rng, colour, looks, 0.25, period=period, wobble=rng.uniform(0, 1.5))
    return product(rng, "textile", "woven cloth", material)


def paper(rng: Rng) -> ProductSpec:
    colour = grey(rng, 0.55, 0.95) if rng.random() < 0.6 else as_colour(rng.uniform(0.4, 0.9, 3))
    looks = ("fibres", "cloud", "grain", "smooth")
    material = textured(rng, colour, looks, 0.07, mottle=rng.uniform(0, 0.1))
    return product(rng, "paper", "sheet of paper", material)


def leather(rng: Rng) -> ProductSpec:
    colour = shade_of(rng, (0.45, 0.28, 0.16), 0.3, 1.7, 0.06)
    looks = ("pebbles", "cells", "ridges", "crackle", "wide_band")
    scale, relief = rng.uniform(0.25, 0.9), rng.uniform(0.1, 0.4)
    material = textured(rng, colour, looks, 0.12, scale=scale, relief=relief)
    return product(rng, "leather", "piece of leather", material)


def wood(rng: Rng) -> ProductSpec:
    colour = shade_of(rng, (0.62, 0.42, 0.24), 0.4, 1.4, 0.04)
    angle = float(rng.choice([0.0, np.pi / 2])) + rng.normal() * 0.05
    looks, sharpness = ("wood", "brushed", "wood"), rng.uniform(0.6, 3)
    material = textured(rng, colour, looks, 0.15, angle=angle, sharpness=sharpness)
    return product(rng, "wood", "wooden board", material)


def stone(rng: Rng) -> ProductSpec:
    looks = ("terrazzo", "crackle", "cells", "cloud", "spots", "speckle", "ridges")
    return product(rng, "stone", "stone tile", textured(rng, grey(rng), looks, 0.3))


def metal_sheet(rng: Rng) -> ProductSpec:
    material = textured(rng, grey(rng, 0.25, 0.85), ("brushed", "grain", "oriented"), 0.12)
    if rng.random() < 0.5:
        return product(rng, "metal sheet", "metal sheet", material)
    rows, columns = (int(v) for v in rng.integers(3, 7, 2))
    shape = shapes.disc() if rng.random() < 0.7 else shapes.rectangle(1.0, 0.5, 1.0)
    hole = piece("hole", shape, grey(rng, 0.0, 0.2), rng.uniform(0.04, 0.1), bevel=0.2)
    holes = repeated(hole, lattice(rng, rows, columns, 0.85, 0.85))
    return product(rng, "metal sheet", "perforated sheet", material, holes)


def tiles(rng: Rng) -> ProductSpec:
    """Bricks, boards or tiles with joints between them."""
    rows, columns = int(rng.integers(2, 6)), int(rng.integers(1, 5))
    colour = grey(rng) if rng.random() < 0.5 else as_colour(rng.uniform(0.2, 0.8, 3))
    height, width = 1.0 / rows * 0.93, 1.0 / columns * 0.96
    shape = shapes.rectangle(1.0, height / width, 0.1)
    parts = []
    for row in range(rows):
        for column in range(columns + (row % 2)):
            x = 2 * (column + 0.5 - 0.5 * (row % 2)) / columns - 1
            centre = (x, 2 * (row + 0.5) / rows - 1)
            look = textured(rng, near(rng, colour), ("grain", "cloud", "plain"), 0.08)
            parts.append(piece("tile", shape, look, width, centre, bevel=rng.uniform(0, 0.3)))
    joint = textured(rng, grey(rng, 0.1, 0.8), ("grain", "plain"), 0.05)
    return product(rng, "tiles", "tiled surface", joint, parts)


def ridges(rng: Rng) -> ProductSpec:
    """Wide glossy ridges across the picture: a thread, a corrugation, a spindle seen close."""
    colour = shade_of(rng, (0.6, 0.53, 0.4), 0.5, 1.4, 0.05)
    turn, count = rng.uniform(-0.7, 0.7), int(rng.integers(3, 9))
    step, parts = 2.6 / count, []
    for i in range(count):
        offset = -1.3 + (i + 0.5) * step
        for share, level in ((0.5, 0.0), (0.22, 0.3), (0.08, -0.35)):
            lit = as_colour(np.array(colour) + level * rng.uniform(0.4, 1))
            look = textured(rng, lit, ("brushed", "grain"), 0.06, angle=turn)
            across = offset + level * step * 0.4
            centre = (-np.sin(turn) * across, np.cos(turn) * across)
            bevel, slack = rng.uniform(0.1, 0.5), rng.uniform(0, 0.03)
            ridge = piece("ridge", shapes.rectangle(1.7, share * step), look, 1.0, centre)
            parts.append(replace(ridge, angle=turn, bevel=bevel, slack=slack))
    return product(rng, "ridges", "threaded spindle", plain(colour), parts)
