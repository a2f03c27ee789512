"""Parts and products as several families put them together."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from anomalyst.synthetic.procedural import shapes
from anomalyst.synthetic.procedural.families.draws import (
    background,
    draw_camera,
    draw_pose,
    letters,
)
from anomalyst.synthetic.procedural.material import Colour, Material, plain
from anomalyst.synthetic.procedural.product import Part, ProductSpec
from anomalyst.synthetic.sampling import Rng, zero_or


def piece(
    name: str,
    shape: shapes.Shape,
    look: Material | Colour,
    half_size: float,
    centre: Sequence[float] | np.ndarray = (0.0, 0.0),
    **more: Any,
) -> Part:
    """A part of a material or of a plain colour; `more` are fields of `Part`."""
    return Part(
        name=name,
        shape=shape,
        material=look if isinstance(look, Material) else plain(look),
        half_size=float(half_size),
        centre_xy=(float(centre[0]), float(centre[1])),
        **more,
    )


def repeated(part: Part, centres: Iterable[tuple[float, float]]) -> list[Part]:
    """The same part at each of the places."""
    return [replace(part, centre_xy=centre) for centre in centres]


def printed(rng: Rng, colour: Colour, x: float, y: float, size: float) -> Part:
    return piece("print", shapes.disc(), colour, size, (x, y), text=letters(rng))


def box(
    name: str, colour: Colour, centre: Sequence[float], half: float, flat: float, **more: Any
) -> Part:
    shape = shapes.rectangle(1.0, flat, 0.15)
    return piece(name, shape, colour, half, centre, **({"bevel": 0.1} | more))


def pad(centre: np.ndarray, half: float, colour: Colour, rng: Rng) -> Part:
    shape = shapes.ring(rng.uniform(0.2, 0.5))
    if rng.random() < 0.5:
        shape = shapes.rectangle(1.0, rng.uniform(0.5, 1), float(rng.choice([0, 0.4, 1])))
    return piece("pad", shape, plain(colour, 0.0), half, centre)


def product(
    rng: Rng,
    family: str,
    noun: str,
    ground: Material,
    parts: Sequence[Part] = (),
    *,
    poses: Sequence[str] = ("fixed", "loose", "free"),
    **more: Any,
) -> ProductSpec:
    """A product on its background; without a body the background is the product itself.

    `more` are fields of `ProductSpec`. Pose and camera are drawn last.
    """
    given: dict[str, Any] = {"body_half": 0.5, "parts": tuple(parts)} | more
    pose, camera = draw_pose(rng, poses), draw_camera(rng)
    return ProductSpec(
        family=family, noun=noun, background=ground, pose=pose, camera=camera, **given
    )


def on_table(
    rng: Rng,
    family: str,
    noun: str,
    body: shapes.Shape,
    look: Material | Colour,
    parts: Sequence[Part] = (),
    **more: Any,
) -> ProductSpec:
    """A product that lies on something; `more` are fields of `ProductSpec`.

    What `more` overrides is drawn all the same, so that the draws after it stay as they are.
    """
    drawn: dict[str, Any] = {
        "background": background(rng),
        "body_half": rng.uniform(0.28, 0.46),
        "body_shadow": zero_or(rng, 0, 0.5),
        "body_bevel": rng.uniform(0, 0.5),
        "pose": draw_pose(rng),
        "camera": draw_camera(rng),
    }
    return ProductSpec(
        family=family,
        noun=noun,
        body=body,
        body_material=look if isinstance(look, Material) else plain(look),
        parts=tuple(parts),
        **(drawn | more),
    )
