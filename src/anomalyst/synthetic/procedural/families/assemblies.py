"""Anything on anything: the broadest family."""

from dataclasses import replace

import numpy as np

from anomalyst.synthetic.procedural import shapes
from anomalyst.synthetic.procedural.families.draws import around, background, lattice, letters
from anomalyst.synthetic.procedural.families.pieces import piece, product, repeated
from anomalyst.synthetic.procedural.material import draw_material
from anomalyst.synthetic.procedural.product import Part, ProductSpec, Scatter
from anomalyst.synthetic.sampling import Rng, log_uniform, one_of, zero_or

NOUNS = ("plate", "disc", "block", "insert", "pad", "stud", "badge", "cap", "clip", "boss")


def random_part(rng: Rng, half_size: float) -> Part:
    """A part of any shape and stuff."""
    return piece(
        one_of(rng, NOUNS),
        shapes.any_shape(rng),
        replace(draw_material(rng), fixed=rng.random() < 0.5),
        half_size,
        angle=zero_or(rng, 0, 2 * np.pi),
        bevel=zero_or(rng, 0.1, 0.5),
        shadow=zero_or(rng, 0.1, 0.5),
        gloss=zero_or(rng, 0.1, 0.4, zeros=2),
        slack=zero_or(rng, 0, 0.02),
        turn_slack=zero_or(rng, 0, 0.1),
    )


def _arranged(rng: Rng) -> list[Part]:
    kind = int(rng.integers(5))
    size = log_uniform(rng, 0.05, 0.3)
    if kind == 0:
        return []
    if kind == 1:
        rows, columns = int(rng.integers(1, 5)), int(rng.integers(2, 7))
        part = random_part(rng, min(size, 0.75 / max(rows, columns)))
        return repeated(part, lattice(rng, rows, columns, 0.65, 0.6))
    if kind == 2:
        part = random_part(rng, min(size, 0.15))
        ring = around(int(rng.integers(3, 11)), rng.uniform(0.4, 0.75))
        return [replace(part, centre_xy=(x, y), angle=part.angle + t) for x, y, t in ring]
    parts = []
    for _ in range(int(rng.integers(1, 12))):
        x, y = rng.uniform(-0.65, 0.65, 2)
        part = random_part(rng, log_uniform(rng, 0.04, 0.35))
        parts.append(replace(part, centre_xy=(float(x), float(y))))
    return parts


def assembly(rng: Rng) -> ProductSpec:
    parts = _arranged(rng)
    if rng.random() < 0.3:
        centre, ink = rng.uniform(-0.4, 0.4, 2), (rng.random(), rng.random(), rng.random())
        half, text = rng.uniform(0.15, 0.45), letters(rng, 1, 5)
        parts.append(piece("print", shapes.disc(), ink, half, centre, text=text))
    scatters: tuple[Scatter, ...] = ()
    if rng.random() < 0.12:
        scatters = (Scatter(part=random_part(rng, rng.uniform(0.02, 0.1)), count=(3, 14)),)
    return product(
        rng,
        "assembly",
        "assembly",
        background(rng),
        parts,
        scatters=scatters,
        body=shapes.any_shape(rng),
        body_material=draw_material(rng),
        body_half=rng.uniform(0.25, 0.48),
        body_aspect=rng.uniform(0.6, 1.3),
        body_bevel=rng.uniform(0, 0.5),
        body_shadow=zero_or(rng, 0, 0.5),
        body_gloss=zero_or(rng, 0, 0.35),
        wobble=zero_or(rng, 0, 0.08, zeros=3),
    )
