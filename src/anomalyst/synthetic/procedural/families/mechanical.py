"""Machined, cast and moulded parts."""

from dataclasses import replace

import numpy as np

from anomalyst.synthetic.procedural import shapes
from anomalyst.synthetic.procedural.families.draws import (
    Rng,
    around,
    background,
    grey,
    near,
    textured,
    vivid,
)
from anomalyst.synthetic.procedural.families.pieces import box, on_table, pad, printed
from anomalyst.synthetic.procedural.material import plain
from anomalyst.synthetic.procedural.product import Part, ProductSpec


def machined(rng: Rng) -> ProductSpec:
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
    hole = Part(
        name="hole",
        shape=shapes.disc(),
        material=plain(grey(rng, 0.0, 0.15)),
        half_size=float(rng.uniform(0.06, 0.14)),
        bevel=0.3,
        group="holes",
    )
    ring = around(int(rng.integers(3, 9)), rng.uniform(0.6, 0.75))
    parts = [replace(hole, centre_xy=(x, y)) for x, y, _ in ring] if choice in (2, 4) else []
    if rng.random() < 0.5:
        parts.append(replace(hole, name="bore", half_size=float(rng.uniform(0.15, 0.4))))
    if rng.random() < 0.4:
        parts.append(printed(rng, grey(rng, 0, 0.3), 0.0, 0.5, 0.18))
    return on_table(
        rng,
        "machined part",
        "machined part",
        body,
        textured(rng, metal, ("brushed", "grain"), 0.1),
        parts=tuple(parts),
        body_gloss=float(rng.uniform(0, 0.4)),
        body_bevel=float(rng.uniform(0.1, 0.5)),
    )


def screw(rng: Rng) -> ProductSpec:
    """A head and a threaded shank."""
    metal = grey(rng, 0.35, 0.8)
    shank = float(rng.uniform(0.14, 0.26))
    thread = textured(
        rng, metal, ("thread", "stripes"), 0.25, period=float(rng.uniform(4, 8)), angle=0.0
    )
    head = replace(
        box("screw head", metal, (-0.8, 0.0), shank * rng.uniform(1.6, 2.2), 1.0),
        bevel=0.4,
        inside=False,
    )
    body = shapes.Shape(
        np.array(
            [(-0.8, -shank), (0.7, -shank), (0.95, 0), (0.7, shank), (-0.8, shank)], np.float32
        ),
        name="screw",
    )
    return on_table(rng, "screw", "screw", body, thread, parts=(head,), body_bevel=0.4)


def moulded_figure(rng: Rng) -> ProductSpec:
    """A glossy plastic figure or clip with limbs, eyes or bosses."""
    colour = vivid(rng)
    dot = Part(
        name="eye",
        shape=shapes.disc() if rng.random() < 0.6 else shapes.star(5, 0.5),
        material=plain(vivid(rng) if rng.random() < 0.6 else grey(rng)),
        half_size=float(rng.uniform(0.04, 0.1)),
        gloss=0.3,
    )
    places = [(float(x), float(y)) for x, y in rng.uniform(-0.3, 0.3, (int(rng.integers(0, 4)), 2))]
    body = shapes.limbed(rng) if rng.random() < 0.7 else shapes.lump(rng, 0.25)
    return on_table(
        rng,
        "moulded figure",
        "plastic figure",
        body,
        textured(rng, colour, ("plain", "smooth"), 0.05),
        parts=tuple(replace(dot, centre_xy=c) for c in places),
        body_bevel=float(rng.uniform(0.25, 0.6)),
        body_gloss=float(rng.uniform(0.1, 0.6)),
        body_half=float(rng.uniform(0.36, 0.48)),
        background=plain(grey(rng, 0.92, 1.0), 0.003) if rng.random() < 0.5 else background(rng),
    )


def casting(rng: Rng) -> ProductSpec:
    looks = ("grain", "cloud", "spots", "pebbles")
    material = textured(rng, grey(rng, 0.2, 0.6), looks, 0.1, relief=float(rng.uniform(0, 0.3)))
    body = shapes.supershape(rng) if rng.random() < 0.5 else shapes.lump(rng, 0.15)
    holes = [
        pad(rng.uniform(-0.4, 0.4, 2), 0.12, grey(rng, 0, 0.2), rng)
        for _ in range(int(rng.integers(0, 3)))
    ]
    return on_table(rng, "casting", "casting", body, material, parts=tuple(holes), body_bevel=0.4)


def seal(rng: Rng) -> ProductSpec:
    body = shapes.ring(float(rng.uniform(0.7, 0.92)))
    colour = grey(rng, 0.03, 0.3) if rng.random() < 0.6 else vivid(rng)
    return on_table(
        rng, "seal", "sealing ring", body, plain(colour, 0.01), body_gloss=0.2, body_bevel=0.4
    )


def lens(rng: Rng) -> ProductSpec:
    """Glass: nearly the background, with a bright rim and a highlight."""
    table = textured(rng, grey(rng, 0.2, 0.9), ("plain", "grain", "smooth"), 0.04)
    glass = near(rng, table.colour, 0.06)
    rim = Part(
        name="rim", shape=shapes.ring(0.93), material=plain(grey(rng, 0.8, 1.0)), half_size=0.98
    )
    return on_table(
        rng,
        "lens",
        "lens",
        shapes.disc(),
        plain(glass, 0.004),
        parts=(rim,),
        body_gloss=0.5,
        background=table,
    )


MECHANICAL = {
    "machined part": machined,
    "screw": screw,
    "moulded figure": moulded_figure,
    "casting": casting,
    "seal": seal,
    "lens": lens,
}
