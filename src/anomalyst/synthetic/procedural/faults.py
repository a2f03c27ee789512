"""Faults of the layout: a part missing, extra, swapped, misplaced, bent, broken, misprinted."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from anomalyst.synthetic.procedural.material import recoloured
from anomalyst.synthetic.procedural.product import Part, ProductSpec
from anomalyst.synthetic.procedural.shapes import Shape

Layout = list[tuple[int, Part]]


@dataclass(frozen=True, slots=True)
class Fault:
    """What was altered in the layout."""

    kind: str
    noun: str
    layout: Layout


def alter_layout(spec: ProductSpec, rng: np.random.Generator) -> Fault | None:
    """One random fault of a product's layout; None when the product has no part to alter."""
    if not spec.parts:
        return None
    layout: Layout = list(enumerate(spec.parts))
    index = int(rng.integers(len(layout)))
    for kind in rng.permutation(list(_FAULTS)):
        altered = _FAULTS[str(kind)](layout, index, rng)
        if altered is not None:
            return Fault(str(kind).replace("_", " "), spec.parts[index].name, altered)
    return None


def _with(layout: Layout, index: int, **changes: object) -> Layout:
    key, part = layout[index]
    return [*layout[:index], (key, replace(part, **changes)), *layout[index + 1 :]]  # type: ignore[arg-type]


def _missing(layout: Layout, index: int, rng: np.random.Generator) -> Layout:  # noqa: ARG001
    return layout[:index] + layout[index + 1 :]


def _extra(layout: Layout, index: int, rng: np.random.Generator) -> Layout | None:
    part = layout[index][1]
    x, y = rng.uniform(-0.75, 0.75, 2)
    if np.hypot(x - part.centre_xy[0], y - part.centre_xy[1]) < part.half_size:
        return None
    twin = replace(part, centre_xy=(float(x), float(y)), angle=float(rng.uniform(0, 6.3)))
    return [*layout, (len(layout) + 500, twin)]


def _swapped(layout: Layout, index: int, rng: np.random.Generator) -> Layout | None:
    part = layout[index][1]
    others = [i for i, (_, p) in enumerate(layout) if p.material != part.material and not p.text]
    if part.text or not others:
        return None
    other = int(rng.choice(others))
    mine, theirs = part.centre_xy, layout[other][1].centre_xy
    return _with(_with(layout, index, centre_xy=theirs), other, centre_xy=mine)


def _misplaced(layout: Layout, index: int, rng: np.random.Generator) -> Layout:
    part = layout[index][1]
    if rng.random() < 0.35 and part.shape.name not in ("disc", "ring"):
        return _with(layout, index, angle=part.angle + float(rng.uniform(0.35, 2.8)))
    turn = rng.uniform(0, 2 * np.pi)
    step = max(0.08, part.half_size * rng.uniform(0.4, 1.5), 3 * part.slack)
    centre = (
        part.centre_xy[0] + float(step * np.cos(turn)),
        part.centre_xy[1] + float(step * np.sin(turn)),
    )
    return _with(layout, index, centre_xy=centre)


def _bent(layout: Layout, index: int, rng: np.random.Generator) -> Layout | None:
    part = layout[index][1]
    extent = np.ptp(part.shape.outer, axis=0)
    if part.text or max(extent) < 2.2 * min(extent):
        return None
    along = int(np.argmax(extent))
    bend = float(rng.choice([-1, 1]) * rng.uniform(0.25, 0.8))

    def bow(points: np.ndarray) -> np.ndarray:
        bowed = points.copy()
        reach = np.clip(points[:, along] - points[:, along].min(), 0, None)
        bowed[:, 1 - along] += bend * reach**2 / max(extent) ** 2 * max(extent)
        return bowed

    shape = part.shape
    return _with(
        layout, index, shape=Shape(bow(shape.outer), tuple(map(bow, shape.holes)), shape.name)
    )


def _broken(layout: Layout, index: int, rng: np.random.Generator) -> Layout | None:
    part = layout[index][1]
    if part.text or part.half_size < 0.08:
        return None
    turn = rng.uniform(0, 2 * np.pi)
    normal = np.array([np.cos(turn), np.sin(turn)])
    outer = part.shape.outer
    reach = outer @ normal
    limit = reach.min() + np.ptp(reach) * rng.uniform(0.3, 0.75)
    jagged = limit + rng.normal(size=len(outer)) * 0.04
    over = np.maximum(reach - jagged, 0)[:, None]
    return _with(
        layout, index, shape=replace(part.shape, outer=(outer - over * normal).astype(np.float32))
    )


def _wrong_print(layout: Layout, index: int, rng: np.random.Generator) -> Layout | None:
    part = layout[index][1]
    if not part.text:
        return None
    letters = list(part.text)
    if rng.random() < 0.4 and len(letters) > 1:
        del letters[int(rng.integers(len(letters)))]
    else:
        letters[int(rng.integers(len(letters)))] = str(rng.choice(list("ABCEHKMNRSTXZ0123456789")))
    text = "".join(letters)
    return None if text == part.text else _with(layout, index, text=text)


def _wrong_colour(layout: Layout, index: int, rng: np.random.Generator) -> Layout:
    part = layout[index][1]
    old = np.array(part.material.colour)
    new = np.clip(old + rng.choice([-1, 1], 3) * rng.uniform(0.15, 0.6, 3), 0, 1)
    colour = (float(new[0]), float(new[1]), float(new[2]))
    return _with(layout, index, material=recoloured(part.material, colour))


def _wrong_size(layout: Layout, index: int, rng: np.random.Generator) -> Layout:
    factor = float(rng.choice([rng.uniform(0.4, 0.75), rng.uniform(1.35, 1.9)]))
    return _with(layout, index, half_size=layout[index][1].half_size * factor)


_FAULTS: dict[str, Callable[[Layout, int, np.random.Generator], Layout | None]] = {
    "missing_part": _missing,
    "extra_part": _extra,
    "swapped_parts": _swapped,
    "misplaced_part": _misplaced,
    "bent_part": _bent,
    "broken_part": _broken,
    "wrong_print": _wrong_print,
    "wrong_colour": _wrong_colour,
    "wrong_size": _wrong_size,
}
