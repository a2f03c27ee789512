"""Surfaces that fill the picture: cloth, leather, paper, wood, stone, metal sheet, layers."""

import numpy as np

from anomalyst.synthetic.procedural import shapes
from anomalyst.synthetic.procedural.families.draws import (
    Rng,
    clipped,
    draw_camera,
    draw_pose,
    grey,
    lattice,
    near,
    textured,
    vivid,
)
from anomalyst.synthetic.procedural.material import Material, draw_material, plain
from anomalyst.synthetic.procedural.product import Part, ProductSpec


def _surface(rng: Rng, family: str, noun: str, material: Material, **more: object) -> ProductSpec:
    pose = draw_pose(rng, ("fixed", "loose", "free"))
    return ProductSpec(
        family=family,
        noun=noun,
        background=material,
        body_half=0.5,
        pose=pose,
        camera=draw_camera(rng),
        **more,  # type: ignore[arg-type]
    )


def surface(rng: Rng) -> ProductSpec:
    return _surface(rng, "surface", "surface", draw_material(rng))


def textile(rng: Rng) -> ProductSpec:
    colour = grey(rng) if rng.random() < 0.5 else vivid(rng)
    looks = ("weave", "twill", "mesh", "stripes", "dots", "hexes")
    period = float(rng.uniform(4, 16))
    material = textured(rng, colour, looks, 0.25, period=period, wobble=float(rng.uniform(0, 1.5)))
    return _surface(rng, "textile", "woven cloth", material)


def paper(rng: Rng) -> ProductSpec:
    colour = grey(rng, 0.55, 0.95) if rng.random() < 0.6 else clipped(rng.uniform(0.4, 0.9, 3))
    material = textured(
        rng, colour, ("fibres", "cloud", "grain", "smooth"), 0.07, mottle=float(rng.uniform(0, 0.1))
    )
    return _surface(rng, "paper", "sheet of paper", material)


def leather(rng: Rng) -> ProductSpec:
    colour = clipped(
        np.array([0.45, 0.28, 0.16]) * rng.uniform(0.3, 1.7) + rng.normal(size=3) * 0.06
    )
    material = textured(
        rng,
        colour,
        ("pebbles", "cells", "ridges", "crackle", "wide_band"),
        0.12,
        scale=float(rng.uniform(0.25, 0.9)),
        relief=float(rng.uniform(0.1, 0.4)),
    )
    return _surface(rng, "leather", "piece of leather", material)


def wood(rng: Rng) -> ProductSpec:
    colour = clipped(
        np.array([0.62, 0.42, 0.24]) * rng.uniform(0.4, 1.4) + rng.normal(size=3) * 0.04
    )
    angle = float(rng.choice([0.0, np.pi / 2])) + float(rng.normal() * 0.05)
    material = textured(
        rng,
        colour,
        ("wood", "brushed", "wood"),
        0.15,
        angle=angle,
        sharpness=float(rng.uniform(0.6, 3)),
    )
    return _surface(rng, "wood", "wooden board", material)


def stone(rng: Rng) -> ProductSpec:
    looks = ("terrazzo", "crackle", "cells", "cloud", "spots", "speckle", "ridges")
    return _surface(rng, "stone", "stone tile", textured(rng, grey(rng), looks, 0.3))


def metal_sheet(rng: Rng) -> ProductSpec:
    material = textured(rng, grey(rng, 0.25, 0.85), ("brushed", "grain", "oriented"), 0.12)
    if rng.random() < 0.5:
        return _surface(rng, "metal sheet", "metal sheet", material)
    rows, columns = (int(v) for v in rng.integers(3, 7, 2))
    hole = Part(
        name="hole",
        shape=shapes.disc() if rng.random() < 0.7 else shapes.rectangle(1.0, 0.5, 1.0),
        material=plain(grey(rng, 0.0, 0.2)),
        half_size=float(rng.uniform(0.04, 0.1)),
        bevel=0.2,
        group="holes",
    )
    return _surface(
        rng, "metal sheet", "perforated sheet", material, parts=_repeated(hole, rng, rows, columns)
    )


def _repeated(part: Part, rng: Rng, rows: int, columns: int) -> tuple[Part, ...]:
    from dataclasses import replace

    return tuple(replace(part, centre_xy=c) for c in lattice(rng, rows, columns, 0.85, 0.85))


def tiled(rng: Rng) -> ProductSpec:
    """Bricks, boards or tiles with joints between them."""
    rows, columns = int(rng.integers(2, 6)), int(rng.integers(1, 5))
    colour = grey(rng) if rng.random() < 0.5 else clipped(rng.uniform(0.2, 0.8, 3))
    height, width = 1.0 / rows * 0.93, 1.0 / columns * 0.96
    parts = []
    for row in range(rows):
        for column in range(columns + (row % 2)):
            x = 2 * (column + 0.5 - 0.5 * (row % 2)) / columns - 1
            parts.append(
                Part(
                    name="tile",
                    shape=shapes.rectangle(1.0, height / width, 0.1),
                    material=textured(rng, near(rng, colour), ("grain", "cloud", "plain"), 0.08),
                    centre_xy=(float(x), 2 * (row + 0.5) / rows - 1),
                    half_size=width,
                    bevel=float(rng.uniform(0, 0.3)),
                    group="tiles",
                )
            )
    joint = textured(rng, grey(rng, 0.1, 0.8), ("grain", "plain"), 0.05)
    return _surface(rng, "tiles", "tiled surface", joint, parts=tuple(parts))


def ridged(rng: Rng) -> ProductSpec:
    """Wide glossy ridges across the picture: a thread, a corrugation, a spindle seen close."""
    colour = clipped(np.array([0.6, 0.53, 0.4]) * rng.uniform(0.5, 1.4) + rng.normal(size=3) * 0.05)
    turn, count = float(rng.uniform(-0.7, 0.7)), int(rng.integers(3, 9))
    step, parts = 2.6 / count, []
    for i in range(count):
        offset = -1.3 + (i + 0.5) * step
        for share, level in ((0.5, 0.0), (0.22, 0.3), (0.08, -0.35)):
            parts.append(
                Part(
                    name="ridge",
                    shape=shapes.rectangle(1.7, share * step),
                    material=textured(
                        rng,
                        clipped(np.array(colour) + level * rng.uniform(0.4, 1)),
                        ("brushed", "grain"),
                        0.06,
                        angle=turn,
                    ),
                    centre_xy=(
                        float(-np.sin(turn) * (offset + level * step * 0.4)),
                        float(np.cos(turn) * (offset + level * step * 0.4)),
                    ),
                    half_size=1.0,
                    angle=turn,
                    bevel=float(rng.uniform(0.1, 0.5)),
                    slack=float(rng.uniform(0, 0.03)),
                    group="ridges",
                )
            )
    return _surface(rng, "ridges", "threaded spindle", plain(colour), parts=tuple(parts))


SURFACES = {
    "surface": surface,
    "textile": textile,
    "paper": paper,
    "leather": leather,
    "wood": wood,
    "stone": stone,
    "metal sheet": metal_sheet,
    "tiles": tiled,
    "ridges": ridged,
}
