"""Faults of the layout: a part missing, extra, swapped, misplaced, bent, broken, misprinted."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from anomalyst.synthetic.procedural.material import as_colour, recoloured
from anomalyst.synthetic.procedural.product import Layout, Part, ProductSpec
from anomalyst.synthetic.sampling import Rng


def alter_layout(spec: ProductSpec, rng: Rng) -> tuple[str, Layout] | None:
    """The kind of a random fault and the layout that has it; None where no part can be altered."""
    if not spec.parts:
        return None
    layout: Layout = list(enumerate(spec.parts))
    index = int(rng.integers(len(layout)))
    key, part = layout[index]
    for name in rng.permutation([*_OF_LAYOUTS, *_OF_PARTS]):
        kind = str(name)
        if kind in _OF_LAYOUTS:
            altered = _OF_LAYOUTS[kind](layout, index, rng)
        else:
            changed = _OF_PARTS[kind](part, rng)
            rest = layout[index + 1 :]
            altered = None if changed is None else [*layout[:index], (key, changed), *rest]
        if altered is not None:
            return kind, altered
    return None


def _missing(layout: Layout, index: int, rng: Rng) -> Layout:  # noqa: ARG001
    return layout[:index] + layout[index + 1 :]


def _extra(layout: Layout, index: int, rng: Rng) -> Layout | None:
    part = layout[index][1]
    x, y = rng.uniform(-0.75, 0.75, 2)
    if np.hypot(x - part.centre_xy[0], y - part.centre_xy[1]) < part.half_size:
        return None
    twin = replace(part, centre_xy=(float(x), float(y)), angle=rng.uniform(0, 6.3))
    return [*layout, (len(layout) + 500, twin)]


def _swapped(layout: Layout, index: int, rng: Rng) -> Layout | None:
    part = layout[index][1]
    others = [i for i, (_, p) in enumerate(layout) if p.material != part.material and not p.text]
    if part.text or not others:
        return None
    swapped, other = list(layout), int(rng.choice(others))
    for i, j in ((index, other), (other, index)):
        swapped[i] = (layout[i][0], replace(layout[i][1], centre_xy=layout[j][1].centre_xy))
    return swapped


def _misplaced(part: Part, rng: Rng) -> Part:
    if rng.random() < 0.35 and part.shape.name not in ("disc", "ring"):
        return replace(part, angle=part.angle + rng.uniform(0.35, 2.8))
    turn = rng.uniform(0, 2 * np.pi)
    step = max(0.08, part.half_size * rng.uniform(0.4, 1.5), 3 * part.slack)
    x, y = part.centre_xy
    return replace(part, centre_xy=(x + float(step * np.cos(turn)), y + float(step * np.sin(turn))))


def _bent(part: Part, rng: Rng) -> Part | None:
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

    holes = tuple(map(bow, part.shape.holes))
    return replace(part, shape=replace(part.shape, outer=bow(part.shape.outer), holes=holes))


def _broken(part: Part, rng: Rng) -> Part | None:
    if part.text or part.half_size < 0.08:
        return None
    turn = rng.uniform(0, 2 * np.pi)
    normal = np.array([np.cos(turn), np.sin(turn)])
    outer = part.shape.outer
    reach = outer @ normal
    limit = reach.min() + np.ptp(reach) * rng.uniform(0.3, 0.75)
    jagged = limit + rng.normal(size=len(outer)) * 0.04
    over = np.maximum(reach - jagged, 0)[:, None]
    left = (outer - over * normal).astype(np.float32)
    return replace(part, shape=replace(part.shape, outer=left))


def _wrong_print(part: Part, rng: Rng) -> Part | None:
    if not part.text:
        return None
    letters = list(part.text)
    if rng.random() < 0.4 and len(letters) > 1:
        del letters[int(rng.integers(len(letters)))]
    else:
        letters[int(rng.integers(len(letters)))] = str(rng.choice(list("ABCEHKMNRSTXZ0123456789")))
    text = "".join(letters)
    return None if text == part.text else replace(part, text=text)


def _wrong_colour(part: Part, rng: Rng) -> Part:
    change = rng.choice([-1, 1], 3) * rng.uniform(0.15, 0.6, 3)
    colour = as_colour(np.array(part.material.colour) + change)
    return replace(part, material=recoloured(part.material, colour))


def _wrong_size(part: Part, rng: Rng) -> Part:
    factor = float(rng.choice([rng.uniform(0.4, 0.75), rng.uniform(1.35, 1.9)]))
    return replace(part, half_size=part.half_size * factor)


_OF_LAYOUTS: dict[str, Callable[[Layout, int, Rng], Layout | None]] = {
    "missing part": _missing,
    "extra part": _extra,
    "swapped parts": _swapped,
}
_OF_PARTS: dict[str, Callable[[Part, Rng], Part | None]] = {
    "misplaced part": _misplaced,
    "bent part": _bent,
    "broken part": _broken,
    "wrong print": _wrong_print,
    "wrong colour": _wrong_colour,
    "wrong size": _wrong_size,
}
