"""Anything on anything: the broadest family."""

from dataclasses import replace

import numpy as np

from anomalyst.synthetic.procedural import shapes
from anomalyst.synthetic.procedural.families.draws import (
    Rng,
    around,
    background,
    draw_camera,
    draw_pose,
    lattice,
    letters,
)
from anomalyst.synthetic.procedural.material import draw_material, plain
from anomalyst.synthetic.procedural.product import Part, ProductSpec, Scatter

NOUNS = ("plate", "disc", "block", "insert", "pad", "stud", "badge", "cap", "clip", "boss")


def random_part(rng: Rng, half_size: float) -> Part:
    """A part of any shape and stuff."""
    return Part(
        name=str(rng.choice(NOUNS)),
        shape=shapes.any_shape(rng),
        material=replace(draw_material(rng), fixed=bool(rng.random() < 0.5)),
        half_size=half_size,
        angle=float(rng.choice([0.0, rng.uniform(0, 2 * np.pi)])),
        bevel=float(rng.choice([0.0, rng.uniform(0.1, 0.5)])),
        shadow=float(rng.choice([0.0, rng.uniform(0.1, 0.5)])),
        gloss=float(rng.choice([0.0, 0.0, rng.uniform(0.1, 0.4)])),
        slack=float(rng.choice([0.0, rng.uniform(0, 0.02)])),
        turn_slack=float(rng.choice([0.0, rng.uniform(0, 0.1)])),
    )


def _arranged(rng: Rng) -> list[Part]:
    kind = int(rng.integers(5))
    size = float(np.exp(rng.uniform(np.log(0.05), np.log(0.3))))
    if kind == 0:
        return []
    if kind == 1:
        rows, columns = int(rng.integers(1, 5)), int(rng.integers(2, 7))
        part = replace(random_part(rng, min(size, 0.75 / max(rows, columns))), group="array")
        return [replace(part, centre_xy=c) for c in lattice(rng, rows, columns, 0.65, 0.6)]
    if kind == 2:
        part = replace(random_part(rng, min(size, 0.15)), group="ring")
        ring = around(int(rng.integers(3, 11)), rng.uniform(0.4, 0.75))
        return [replace(part, centre_xy=(x, y), angle=part.angle + t) for x, y, t in ring]
    parts = []
    for _ in range(int(rng.integers(1, 12))):
        x, y = rng.uniform(-0.65, 0.65, 2)
        half = float(np.exp(rng.uniform(np.log(0.04), np.log(0.35))))
        parts.append(replace(random_part(rng, half), centre_xy=(float(x), float(y))))
    return parts


def assembly(rng: Rng) -> ProductSpec:
    parts = _arranged(rng)
    if rng.random() < 0.3:
        x, y = rng.uniform(-0.4, 0.4, 2)
        parts.append(
            Part(
                name="print",
                shape=shapes.disc(),
                material=plain((float(rng.random()), float(rng.random()), float(rng.random()))),
                centre_xy=(float(x), float(y)),
                half_size=float(rng.uniform(0.15, 0.45)),
                text=letters(rng, 1, 5),
            )
        )
    scatters: tuple[Scatter, ...] = ()
    if rng.random() < 0.12:
        scatters = (Scatter(part=random_part(rng, float(rng.uniform(0.02, 0.1))), count=(3, 14)),)
    return ProductSpec(
        family="assembly",
        noun="assembly",
        background=background(rng),
        body=shapes.any_shape(rng),
        body_material=draw_material(rng),
        body_half=float(rng.uniform(0.25, 0.48)),
        body_aspect=float(rng.uniform(0.6, 1.3)),
        body_bevel=float(rng.uniform(0, 0.5)),
        body_shadow=float(rng.choice([0.0, rng.uniform(0, 0.5)])),
        body_gloss=float(rng.choice([0.0, rng.uniform(0, 0.35)])),
        wobble=float(rng.choice([0.0, 0.0, 0.0, rng.uniform(0, 0.08)])),
        parts=tuple(parts),
        scatters=scatters,
        pose=draw_pose(rng),
        camera=draw_camera(rng),
    )
