"""Bottles, caps, pills, trays and labels."""

from dataclasses import replace

import numpy as np

from anomalyst.synthetic.procedural import shapes
from anomalyst.synthetic.procedural.families.draws import (
    Rng,
    draw_pose,
    grey,
    lattice,
    near,
    textured,
    vivid,
)
from anomalyst.synthetic.procedural.families.pieces import box, on_table, printed
from anomalyst.synthetic.procedural.material import plain
from anomalyst.synthetic.procedural.product import Part, ProductSpec, Scatter


def bottle(rng: Rng) -> ProductSpec:
    colour = vivid(rng) if rng.random() < 0.5 else grey(rng)
    if rng.random() < 0.5:
        rings = [
            Part(
                name="ring",
                shape=shapes.ring(float(rng.uniform(0.7, 0.95))),
                material=plain(near(rng, colour, 0.2)),
                half_size=float(h),
                bevel=0.4,
                gloss=0.1,
            )
            for h in np.sort(rng.uniform(0.2, 0.95, int(rng.integers(1, 5))))[::-1]
        ]
        return on_table(
            rng,
            "bottle",
            "bottle mouth",
            shapes.disc(),
            plain(colour),
            parts=tuple(rings),
            body_gloss=0.3,
        )
    neck = float(rng.uniform(0.12, 0.25))
    label = box("label", grey(rng, 0.6, 1), (0.0, 0.45), 0.42, float(rng.uniform(0.4, 0.9)))
    cap = replace(box("cap", vivid(rng), (0.0, -0.92), neck * 1.25, 0.6), inside=False)
    parts = (label, printed(rng, grey(rng, 0, 0.3), 0.0, 0.45, 0.16), cap)
    body = shapes.bottle(neck, float(rng.uniform(-0.6, 0.0)))
    return on_table(
        rng, "bottle", "bottle", body, plain(colour), parts=parts, body_gloss=0.4, body_bevel=0.5
    )


def cap(rng: Rng) -> ProductSpec:
    colour = vivid(rng) if rng.random() < 0.6 else grey(rng)
    rim = Part(
        name="rim",
        shape=shapes.ring(float(rng.uniform(0.75, 0.92))),
        material=plain(near(rng, colour, 0.1)),
        half_size=0.97,
        bevel=0.4,
    )
    body = shapes.gear(int(rng.integers(24, 50)), 0.05) if rng.random() < 0.5 else shapes.disc()
    logo = printed(rng, near(rng, colour, 0.4), 0.0, 0.0, float(rng.uniform(0.15, 0.35)))
    return on_table(
        rng, "cap", "bottle cap", body, plain(colour), parts=(rim, logo), body_gloss=0.3
    )


def pill(rng: Rng) -> ProductSpec:
    colour = grey(rng, 0.75, 0.98) if rng.random() < 0.6 else vivid(rng)
    flat = float(rng.choice([1.0, rng.uniform(0.35, 0.6)]))
    parts = [printed(rng, near(rng, colour, 0.35), 0.0, 0.0, float(rng.uniform(0.2, 0.4)))]
    if flat < 0.7 and rng.random() < 0.5:
        half = replace(box("capsule half", vivid(rng), (0.5, 0.0), 0.5, flat * 2), bevel=0.0)
        parts.insert(0, half)
    spots: tuple[Scatter, ...] = ()
    if rng.random() < 0.3:
        speck = Part(
            name="speckle", shape=shapes.disc(8), material=plain(vivid(rng)), half_size=0.03
        )
        spots = (Scatter(part=speck, count=(4, 20)),)
    return on_table(
        rng,
        "pill",
        "pill",
        shapes.rectangle(1.0, flat, 1.0),
        plain(colour, 0.015),
        parts=tuple(parts),
        scatters=spots,
        body_bevel=0.5,
    )


def tray(rng: Rng) -> ProductSpec:
    """Equal things in rows: a blister pack, a tray of parts, a keypad, a connector."""
    rows, columns = int(rng.integers(1, 6)), int(rng.integers(2, 7))
    body = textured(rng, grey(rng), ("plain", "brushed", "grain"), 0.1)
    half = 0.62 / max(rows, columns)
    thing = Part(
        name=str(rng.choice(["pill", "key", "pin", "candle", "biscuit", "contact"])),
        shape=shapes.any_shape(rng)
        if rng.random() < 0.5
        else shapes.rectangle(1, rng.uniform(0.4, 1), rng.uniform(0, 1)),
        material=textured(
            rng, vivid(rng) if rng.random() < 0.6 else grey(rng), ("plain", "grain", "cloud"), 0.1
        ),
        half_size=float(half),
        bevel=float(rng.uniform(0.1, 0.5)),
        shadow=float(rng.uniform(0, 0.4)),
        gloss=float(rng.uniform(0, 0.4)),
        slack=float(rng.choice([0.0, rng.uniform(0, 0.03)])),
        turn_slack=float(rng.choice([0.0, rng.uniform(0, 0.5)])),
        group="row",
    )
    centres = lattice(rng, rows, columns, 0.75, 0.75 if rows > 1 else 0.0)
    return on_table(
        rng,
        "tray",
        "tray of parts",
        shapes.rectangle(1.0, 1.0, rng.uniform(0, 0.3)),
        body,
        parts=tuple(replace(thing, centre_xy=c) for c in centres),
        body_half=float(rng.uniform(0.38, 0.5)),
        body_aspect=float(rng.uniform(0.5, 1.0)),
    )


def label(rng: Rng) -> ProductSpec:
    """Lines of text, a bar code, a box, a logo."""
    stock, ink = grey(rng, 0.7, 1.0), grey(rng, 0.0, 0.25)
    if rng.random() < 0.3:
        stock, ink = vivid(rng), grey(rng, 0.85, 1)
    parts = [
        printed(rng, ink, float(rng.uniform(-0.2, 0.2)), float(y), float(rng.uniform(0.1, 0.22)))
        for y in np.linspace(-0.6, 0.3, int(rng.integers(2, 5)))
    ]
    x = -0.7
    while x < 0.6 and len(parts) < 30:
        thick = float(rng.uniform(0.008, 0.03))
        bar = Part(
            name="bar",
            shape=shapes.rectangle(1.0, 0.16 / thick),
            material=plain(ink),
            half_size=thick,
            centre_xy=(x, 0.65),
            group="bar code",
        )
        parts.append(bar)
        x += thick * 2 + float(rng.uniform(0.02, 0.07))
    logo = Part(
        name="logo",
        shape=shapes.any_shape(rng),
        material=plain(vivid(rng)),
        half_size=0.16,
        centre_xy=(0.65, -0.6),
    )
    return on_table(
        rng,
        "label",
        "printed label",
        shapes.rectangle(1.0, 1.0, rng.uniform(0, 0.2)),
        textured(rng, stock, ("plain", "fibres"), 0.03),
        parts=(*parts, logo),
        body_half=float(rng.uniform(0.35, 0.55)),
        body_bevel=0.0,
        pose=draw_pose(rng, ("fixed", "loose")),
    )


PACKAGING = {
    "bottle": bottle,
    "cap": cap,
    "pill": pill,
    "tray": tray,
    "label": label,
}
