"""Pieces that several families are made of."""

from typing import Any

import numpy as np

from anomalyst.synthetic.procedural import shapes
from anomalyst.synthetic.procedural.families.draws import (
    Rng,
    background,
    draw_camera,
    draw_pose,
    letters,
)
from anomalyst.synthetic.procedural.material import Material, plain
from anomalyst.synthetic.procedural.product import Colour, Part, ProductSpec


def printed(rng: Rng, colour: Colour, x: float, y: float, size: float) -> Part:
    return Part(
        name="print",
        shape=shapes.disc(),
        material=plain(colour),
        centre_xy=(x, y),
        half_size=size,
        text=letters(rng),
    )


def box(name: str, colour: Colour, centre: tuple[float, float], half: float, flat: float) -> Part:
    return Part(
        name=name,
        shape=shapes.rectangle(1.0, flat, 0.15),
        material=plain(colour),
        centre_xy=(float(centre[0]), float(centre[1])),
        half_size=half,
        bevel=0.1,
    )


def pad(centre: np.ndarray, half: float, colour: Colour, rng: Rng) -> Part:
    shape = shapes.ring(float(rng.uniform(0.2, 0.5)))
    if rng.random() < 0.5:
        shape = shapes.rectangle(1.0, float(rng.uniform(0.5, 1)), float(rng.choice([0, 0.4, 1])))
    return Part(
        name="pad",
        shape=shape,
        material=plain(colour, 0.0),
        centre_xy=(float(centre[0]), float(centre[1])),
        half_size=float(half),
    )


def on_table(
    rng: Rng, family: str, noun: str, body: shapes.Shape, material: Material, **more: Any
) -> ProductSpec:
    drawn: dict[str, Any] = {
        "background": background(rng),
        "body_half": float(rng.uniform(0.28, 0.46)),
        "body_shadow": float(rng.choice([0.0, rng.uniform(0, 0.5)])),
        "body_bevel": float(rng.uniform(0, 0.5)),
        "pose": draw_pose(rng),
        "camera": draw_camera(rng),
    }
    return ProductSpec(
        family=family, noun=noun, body=body, body_material=material, **(drawn | more)
    )
