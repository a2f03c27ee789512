"""Bottles, caps, pills, trays and labels."""

import numpy as np

from anomalyst.synthetic.procedural import shapes
from anomalyst.synthetic.procedural.families.draws import (
    draw_pose,
    grey,
    lattice,
    near,
    textured,
    vivid,
    vivid_or_grey,
)
from anomalyst.synthetic.procedural.families.pieces import box, on_table, piece, printed, repeated
from anomalyst.synthetic.procedural.material import plain
from anomalyst.synthetic.procedural.product import Part, ProductSpec, Scatter
from anomalyst.synthetic.sampling import Rng, one_of, zero_or


def bottle(rng: Rng) -> ProductSpec:
    """A bottle from the side, or its mouth from above."""
    colour = vivid_or_grey(rng, 0.5)
    if rng.random() < 0.5:
        rings = []
        for half in np.sort(rng.uniform(0.2, 0.95, int(rng.integers(1, 5))))[::-1]:
            shape = shapes.ring(rng.uniform(0.7, 0.95))
            rings.append(piece("ring", shape, near(rng, colour, 0.2), half, bevel=0.4, gloss=0.1))
        return on_table(rng, "bottle", "bottle mouth", shapes.disc(), colour, rings, body_gloss=0.3)
    neck = rng.uniform(0.12, 0.25)
    label = box("label", grey(rng, 0.6, 1), (0.0, 0.45), 0.42, rng.uniform(0.4, 0.9))
    cap = box("cap", vivid(rng), (0.0, -0.92), neck * 1.25, 0.6, inside=False)
    parts = [label, printed(rng, grey(rng, 0, 0.3), 0.0, 0.45, 0.16), cap]
    body = shapes.bottle(neck, rng.uniform(-0.6, 0.0))
    return on_table(rng, "bottle", "bottle", body, colour, parts, body_gloss=0.4, body_bevel=0.5)


def cap(rng: Rng) -> ProductSpec:
    colour = vivid_or_grey(rng)
    rim = shapes.ring(rng.uniform(0.75, 0.92))
    parts = [piece("rim", rim, near(rng, colour, 0.1), 0.97, bevel=0.4)]
    body = shapes.gear(int(rng.integers(24, 50)), 0.05) if rng.random() < 0.5 else shapes.disc()
    parts.append(printed(rng, near(rng, colour, 0.4), 0.0, 0.0, rng.uniform(0.15, 0.35)))
    return on_table(rng, "cap", "bottle cap", body, colour, parts, body_gloss=0.3)


def pill(rng: Rng) -> ProductSpec:
    colour = grey(rng, 0.75, 0.98) if rng.random() < 0.6 else vivid(rng)
    flat = float(rng.choice([1.0, rng.uniform(0.35, 0.6)]))
    parts = [printed(rng, near(rng, colour, 0.35), 0.0, 0.0, rng.uniform(0.2, 0.4))]
    if flat < 0.7 and rng.random() < 0.5:
        parts.insert(0, box("capsule half", vivid(rng), (0.5, 0.0), 0.5, flat * 2, bevel=0.0))
    spots: tuple[Scatter, ...] = ()
    if rng.random() < 0.3:
        speck = piece("speckle", shapes.disc(8), vivid(rng), 0.03)
        spots = (Scatter(part=speck, count=(4, 20)),)
    body, look = shapes.rectangle(1.0, flat, 1.0), plain(colour, 0.015)
    return on_table(rng, "pill", "pill", body, look, parts, scatters=spots, body_bevel=0.5)


def tray(rng: Rng) -> ProductSpec:
    """Equal things in rows: a blister pack, a tray of parts, a keypad, a connector."""
    rows, columns = int(rng.integers(1, 6)), int(rng.integers(2, 7))
    look = textured(rng, grey(rng), ("plain", "brushed", "grain"), 0.1)
    thing = _thing(rng, 0.62 / max(rows, columns))
    centres = lattice(rng, rows, columns, 0.75, 0.75 if rows > 1 else 0.0)
    return on_table(
        rng,
        "tray",
        "tray of parts",
        shapes.rectangle(1.0, 1.0, rng.uniform(0, 0.3)),
        look,
        repeated(thing, centres),
        body_half=rng.uniform(0.38, 0.5),
        body_aspect=rng.uniform(0.5, 1.0),
    )


def _thing(rng: Rng, half_size: float) -> Part:
    name = one_of(rng, ["pill", "key", "pin", "candle", "biscuit", "contact"])
    if rng.random() < 0.5:
        shape = shapes.any_shape(rng)
    else:
        shape = shapes.rectangle(1, rng.uniform(0.4, 1), rng.uniform(0, 1))
    look = textured(rng, vivid_or_grey(rng), ("plain", "grain", "cloud"), 0.1)
    return piece(
        name,
        shape,
        look,
        half_size,
        bevel=rng.uniform(0.1, 0.5),
        shadow=rng.uniform(0, 0.4),
        gloss=rng.uniform(0, 0.4),
        slack=zero_or(rng, 0, 0.03),
        turn_slack=zero_or(rng, 0, 0.5),
    )


def label(rng: Rng) -> ProductSpec:
    """Lines of text, a bar code, a box, a logo."""
    stock, ink = grey(rng, 0.7, 1.0), grey(rng, 0.0, 0.25)
    if rng.random() < 0.3:
        stock, ink = vivid(rng), grey(rng, 0.85, 1)
    lines = np.linspace(-0.6, 0.3, int(rng.integers(2, 5)))
    parts = [printed(rng, ink, rng.uniform(-0.2, 0.2), y, rng.uniform(0.1, 0.22)) for y in lines]
    x = -0.7
    while x < 0.6 and len(parts) < 30:
        thick = rng.uniform(0.008, 0.03)
        parts.append(piece("bar", shapes.rectangle(1.0, 0.16 / thick), ink, thick, (x, 0.65)))
        x += thick * 2 + rng.uniform(0.02, 0.07)
    parts.append(piece("logo", shapes.any_shape(rng), vivid(rng), 0.16, (0.65, -0.6)))
    body = shapes.rectangle(1.0, 1.0, rng.uniform(0, 0.2))
    look = textured(rng, stock, ("plain", "fibres"), 0.03)
    half, pose = rng.uniform(0.35, 0.55), draw_pose(rng, ("fixed", "loose"))
    return on_table(
        rng, "label", "printed label", body, look, parts, body_half=half, body_bevel=0.0, pose=pose
    )
