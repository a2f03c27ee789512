"""Machined, cast and moulded parts."""

from dataclasses import replace

import numpy as np

from anomalyst.synthetic.procedural import shapes
from anomalyst.synthetic.procedural.families.draws import (
    around,
    background,
    grey,
    near,
    textured,
    vivid,
    vivid_or_grey,
)
from anomalyst.synthetic.procedural.families.pieces import (
    box,
    on_table,
    pad,
    piece,
    printed,
    repeated,
)
from anomalyst.synthetic.procedural.material import plain
from anomalyst.synthetic.procedural.product import ProductSpec
from anomalyst.synthetic.sampling import Rng


def machined_part(rng: Rng) -> ProductSpec:
    """A plate, flange, gear, nut or washer with holes and slots."""
    metal = grey(rng, 0.3, 0.8)
    choice = int(rng.integers(5))
    body = (
        shapes.gear(int(rng.integers(8, 26)), rng.uniform(0.08, 0.2), rng.uniform(0.15, 0.4)),
        shapes.ring(rng.uniform(0.3, 0.7)),
        shapes.rectangle(1.0, rng.uniform(0.4, 1), rng.uniform(0, 0.5)),
        replace(shapes.polygon(6), holes=(shapes.disc().outer * rng.uniform(0.4, 0.6),)),
        shapes.disc(),
    )[choice]
    dark = grey(rng, 0.0, 0.15)
    hole = piece("hole", shapes.disc(), dark, rng.uniform(0.06, 0.14), bevel=0.3)
    ring = around(int(rng.integers(3, 9)), rng.uniform(0.6, 0.75))
    parts = repeated(hole, [(x, y) for x, y, _ in ring]) if choice in (2, 4) else []
    if rng.random() < 0.5:
        parts.append(replace(hole, name="bore", half_size=rng.uniform(0.15, 0.4)))
    if rng.random() < 0.4:
        parts.append(printed(rng, grey(rng, 0, 0.3), 0.0, 0.5, 0.18))
    look = textured(rng, metal, ("brushed", "grain"), 0.1)
    gloss, bevel = rng.uniform(0, 0.4), rng.uniform(0.1, 0.5)
    name = "machined part"
    return on_table(rng, name, name, body, look, parts, body_gloss=gloss, body_bevel=bevel)


def screw(rng: Rng) -> ProductSpec:
    """A head and a threaded shank."""
    metal = grey(rng, 0.35, 0.8)
    shank, period = rng.uniform(0.14, 0.26), rng.uniform(4, 8)
    thread = textured(rng, metal, ("thread", "stripes"), 0.25, period=period, angle=0.0)
    half = shank * rng.uniform(1.6, 2.2)
    head = box("screw head", metal, (-0.8, 0.0), half, 1.0, bevel=0.4, inside=False)
    outline = [(-0.8, -shank), (0.7, -shank), (0.95, 0), (0.7, shank), (-0.8, shank)]
    body = shapes.Shape(np.array(outline, np.float32), name="screw")
    return on_table(rng, "screw", "screw", body, thread, [head], body_bevel=0.4)


def moulded_figure(rng: Rng) -> ProductSpec:
    """A glossy plastic figure or clip with limbs, eyes or bosses."""
    colour = vivid(rng)
    shape = shapes.disc() if rng.random() < 0.6 else shapes.star(5, 0.5)
    dot = piece("eye", shape, vivid_or_grey(rng), rng.uniform(0.04, 0.1), gloss=0.3)
    places = [(float(x), float(y)) for x, y in rng.uniform(-0.3, 0.3, (int(rng.integers(0, 4)), 2))]
    body = shapes.limbed(rng) if rng.random() < 0.7 else shapes.lump(rng, 0.25)
    return on_table(
        rng,
        "moulded figure",
        "plastic figure",
        body,
        textured(rng, colour, ("plain", "smooth"), 0.05),
        repeated(dot, places),
        body_bevel=rng.uniform(0.25, 0.6),
        body_gloss=rng.uniform(0.1, 0.6),
        body_half=rng.uniform(0.36, 0.48),
        background=plain(grey(rng, 0.92, 1.0), 0.003) if rng.random() < 0.5 else background(rng),
    )


def casting(rng: Rng) -> ProductSpec:
    looks = ("grain", "cloud", "spots", "pebbles")
    material = textured(rng, grey(rng, 0.2, 0.6), looks, 0.1, relief=rng.uniform(0, 0.3))
    body = shapes.supershape(rng) if rng.random() < 0.5 else shapes.lump(rng, 0.15)
    holes = [
        pad(rng.uniform(-0.4, 0.4, 2), 0.12, grey(rng, 0, 0.2), rng)
        for _ in range(int(rng.integers(0, 3)))
    ]
    return on_table(rng, "casting", "casting", body, material, holes, body_bevel=0.4)


def seal(rng: Rng) -> ProductSpec:
    body = shapes.ring(rng.uniform(0.7, 0.92))
    colour = grey(rng, 0.03, 0.3) if rng.random() < 0.6 else vivid(rng)
    return on_table(rng, "seal", "sealing ring", body, colour, body_gloss=0.2, body_bevel=0.4)


def lens(rng: Rng) -> ProductSpec:
    """Glass: nearly the background, with a bright rim and a highlight."""
    table = textured(rng, grey(rng, 0.2, 0.9), ("plain", "grain", "smooth"), 0.04)
    glass = plain(near(rng, table.colour, 0.06), 0.004)
    rim = piece("rim", shapes.ring(0.93), grey(rng, 0.8, 1.0), 0.98)
    return on_table(
        rng, "lens", "lens", shapes.disc(), glass, [rim], body_gloss=0.5, background=table
    )
