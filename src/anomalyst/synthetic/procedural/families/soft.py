"""Food, loose goods, cables, zippers and brushes."""

from dataclasses import replace

import numpy as np

from anomalyst.synthetic.procedural import shapes
from anomalyst.synthetic.procedural.families.draws import (
    Rng,
    around,
    background,
    clipped,
    draw_camera,
    draw_pose,
    grey,
    near,
    textured,
    vivid,
)
from anomalyst.synthetic.procedural.families.pieces import box, on_table
from anomalyst.synthetic.procedural.material import plain
from anomalyst.synthetic.procedural.product import Part, ProductSpec, Scatter


def biscuit(rng: Rng) -> ProductSpec:
    dough = clipped(
        np.array([0.78, 0.57, 0.34]) * rng.uniform(0.5, 1.2) + rng.normal(size=3) * 0.04
    )
    chip = Part(
        name="chip",
        shape=shapes.lump(rng, 0.2),
        material=plain(clipped(np.array([0.3, 0.17, 0.1]) * rng.uniform(0.4, 2.2)), 0.02),
        half_size=float(rng.uniform(0.06, 0.14)),
        bevel=0.3,
    )
    looks = ("ridges", "cloud", "crackle", "grain", "pebbles")
    material = textured(rng, dough, looks, 0.15, relief=float(rng.uniform(0.1, 0.4)), mottle=0.1)
    body = (
        shapes.lump(rng, 0.06)
        if rng.random() < 0.7
        else shapes.rectangle(1, rng.uniform(0.6, 1), 0.4)
    )
    return on_table(
        rng,
        "biscuit",
        "biscuit",
        body,
        material,
        scatters=(Scatter(part=chip, count=(0, 9)),),
        wobble=float(rng.uniform(0.02, 0.14)),
        pose=draw_pose(rng, ("free", "loose")),
        body_bevel=0.4,
    )


def loose_goods(rng: Rng) -> ProductSpec:
    """Seeds, grains, nuts or macaroni thrown on a surface."""
    grain = Part(
        name=str(rng.choice(["grain", "seed", "bean", "macaroni", "nut"])),
        shape=shapes.lump(rng, 0.12) if rng.random() < 0.6 else shapes.any_shape(rng),
        material=textured(rng, clipped(rng.uniform(0.2, 0.9, 3)), ("plain", "cloud"), 0.08),
        half_size=float(rng.uniform(0.06, 0.2)),
        bevel=0.4,
        shadow=0.3,
    )
    low = int(rng.integers(3, 14))
    return ProductSpec(
        family="loose goods",
        noun="layer of loose goods",
        background=background(rng),
        body_half=0.5,
        scatters=(Scatter(part=grain, count=(low, low + int(rng.integers(1, 8)))),),
        pose=draw_pose(rng),
        camera=draw_camera(rng),
    )


def cable(rng: Rng) -> ProductSpec:
    """Insulated wires: cut across, or running side by side."""
    count = int(rng.integers(2, 7))
    colours = [vivid(rng) for _ in range(count)]
    copper = textured(
        rng, clipped(np.array([0.8, 0.5, 0.3])), ("speckle", "pebbles"), 0.2, scale=0.4
    )
    if rng.random() < 0.5:
        wire = 0.8 * float(np.sin(np.pi / count) / (1 + np.sin(np.pi / count))) + 0.06
        parts = []
        for (x, y, _), colour in zip(around(count, 0.85 - wire), colours, strict=True):
            ring = Part(
                name="wire",
                shape=shapes.disc(),
                material=plain(colour),
                half_size=wire,
                centre_xy=(x, y),
                bevel=0.3,
                slack=0.03,
            )
            parts += [ring, replace(ring, name="core", material=copper, half_size=wire * 0.55)]
        sheath = plain(grey(rng))
        return on_table(
            rng,
            "cable",
            "cable cross-section",
            shapes.disc(),
            sheath,
            parts=tuple(parts),
            pose=draw_pose(rng, ("loose", "free")),
        )
    parts = []
    for i, colour in enumerate(colours):
        t = np.linspace(-1.2, 1.2, 20)
        bend = rng.uniform(-0.08, 0.08) * np.sin(t * rng.uniform(1, 3))
        run = np.stack([t, bend + (i + 0.5) * 1.6 / count - 0.8], 1)
        parts.append(
            Part(
                name="wire",
                shape=shapes.path(run, 0.55 / count),
                material=plain(colour),
                half_size=1.0,
                bevel=0.4,
                shadow=0.3,
                slack=0.015,
            )
        )
    return ProductSpec(
        family="cable",
        noun="cable run",
        background=background(rng),
        body_half=0.5,
        parts=tuple(parts),
        pose=draw_pose(rng, ("fixed", "loose")),
        camera=draw_camera(rng),
    )


def zipper(rng: Rng) -> ProductSpec:
    tape = textured(
        rng, grey(rng) if rng.random() < 0.6 else vivid(rng), ("weave", "twill"), 0.1, period=4.5
    )
    count, metal, parts = int(rng.integers(8, 18)), grey(rng, 0.2, 0.85), []
    for i in range(count):
        side = 1 if i % 2 else -1
        y = 1.9 * (i + 0.5) / count - 0.95
        parts.append(
            replace(
                box("tooth", metal, (side * 0.07, y), 0.16, 0.45 * 6 / count),
                bevel=0.3,
                group="teeth",
            )
        )
    return ProductSpec(
        family="zipper",
        noun="zipper",
        background=tape,
        body_half=0.5,
        parts=tuple(parts),
        pose=draw_pose(rng, ("fixed", "loose")),
        camera=draw_camera(rng),
    )


def brush(rng: Rng) -> ProductSpec:
    colour, parts = vivid(rng), []
    for x in np.linspace(-0.85, 0.85, int(rng.integers(10, 30))):
        t = np.linspace(-0.9, 0.5, 8)
        lean = rng.normal() * 0.04
        run = np.stack([x + lean * (0.5 - t), t], 1)
        parts.append(
            Part(
                name="bristle",
                shape=shapes.path(run, 0.025),
                material=plain(near(rng, colour, 0.12)),
                half_size=1.0,
                turn_slack=0.02,
                slack=0.01,
                inside=False,
            )
        )
    handle = replace(box("handle", grey(rng), (0.0, 0.75), 1.0, 0.3), inside=False)
    return ProductSpec(
        family="brush",
        noun="brush",
        background=background(rng),
        body_half=0.42,
        parts=(*parts, handle),
        pose=draw_pose(rng, ("fixed", "loose")),
        camera=draw_camera(rng),
    )


SOFT = {
    "biscuit": biscuit,
    "loose goods": loose_goods,
    "cable": cable,
    "zipper": zipper,
    "brush": brush,
}
