"""Places on drawn parts beside a good one: one part missing, one too many, or anything else."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from anomalyst.detection.classifiers.composition import CHANGES, Box, pair_of
from anomalyst.synthetic.procedural import WorldConfig
from anomalyst.synthetic.procedural.episode import defective_picture, faulty_picture, normal_picture
from anomalyst.synthetic.procedural.families import draw_product
from anomalyst.synthetic.sampling import Rng

OTHERS = (
    "swapped parts",
    "misplaced part",
    "wrong size",
    "wrong colour",
    "broken part",
    "bent part",
)
LABELS = {"missing part": CHANGES.index("missing"), "extra part": CHANGES.index("extra")}

Place = tuple[Tensor, int]  # (7, 64, 64) uint8, index into CHANGES


def places(seed: Sequence[int], world: WorldConfig) -> list[Place]:
    """The places of one drawn product; none where it has no parts."""
    rng = np.random.default_rng(seed)
    spec = draw_product(rng, only=world.families or None, without=world.without)
    if not spec.parts:
        return []
    good = normal_picture(spec, rng, world.size_px)
    found: list[Place] = []
    for kinds in (("missing part",), ("missing part",), ("extra part",), ("extra part",), OTHERS):
        made = faulty_picture(spec, rng, world.size_px, kinds)
        if made is not None:
            query, mask, kind = made
            found.append(_place(query, good, _inexact_box(mask, rng), LABELS.get(kind, 0)))
    surface = replace(world, layout_share=0.0, anomalous_share=1.0)
    query, mask, _ = defective_picture(spec, rng, surface)
    if mask.any():
        found.append(_place(query, good, _inexact_box(mask, rng), 0))
    query = normal_picture(spec, rng, world.size_px)
    return [*found, *(_place(query, good, _anywhere(world.size_px, rng), 0) for _ in range(2))]


def _place(query: np.ndarray, good: np.ndarray, box: Box, label: int) -> Place:
    return (pair_of(query, good, box) * 255).round().to(torch.uint8), label


def _inexact_box(mask: np.ndarray, rng: Rng) -> Box:
    """The box of what differs, as inexact as a map's regions are."""
    ys, xs = np.nonzero(mask)
    x0, y0, x1, y1 = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
    centre = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
    sides = np.array([x1 - x0, y1 - y0], float)
    centre += rng.normal(0, 0.12, 2) * sides
    sides = np.maximum(4, sides * rng.uniform(0.6, 1.5) * rng.uniform(0.85, 1.15, 2))
    (left, top), (right, bottom) = centre - sides / 2, centre + sides / 2
    return float(left), float(top), float(right), float(bottom)


def _anywhere(size_px: int, rng: Rng) -> Box:
    sides = size_px * np.exp(rng.uniform(np.log(0.03), np.log(0.3), 2))
    x, y = rng.uniform(0.1, 0.9, 2) * size_px
    return x - sides[0] / 2, y - sides[1] / 2, x + sides[0] / 2, y + sides[1] / 2
